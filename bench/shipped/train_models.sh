#!/bin/sh
# How the models that come with muspike were trained, and the twins that docs/models.md holds them against: in this
# order, on two CPU cores, several at a time. docs/results/logs/training/ has what each printed. The presets are those of
# the day: where one was changed later, what differed then is said here; every model.json has its settings and history.
set -e

# The twins that do not spike.
muspike train ann-lstm --preset small -o runs/ann-lstm --steps 1800
muspike train ann-transformer --preset small -o runs/ann-transformer --steps 1500
muspike train ann-cnn --preset small -o runs/ann-cnn --steps 900
muspike train ann-rnn --preset small -o runs/ann-rnn --steps 700

# S-CNN. The first run: dropout 0.1, float32, learning rate 4e-3 without a schedule; stopped by hand after step 1800.
muspike train s-cnn --preset small -o runs/s-cnn-1 --steps 1800
muspike train s-cnn --preset small -o runs/s-cnn --init runs/s-cnn-1 --steps 1200
python bench/shipped/ship_model.py runs/s-cnn s-cnn

# S-RNN. The first run: dropout 0.1, float32, plateau schedule, its learning rate lowered by hand to a quarter at step
# 2550 and to a sixteenth at step 3000; best at step 3150.
muspike train s-rnn --preset small -o runs/s-rnn-1 --steps 3300
muspike train s-rnn --preset small -o runs/s-rnn --init runs/s-rnn-1 --steps 750 --learning-rate 2e-3
python bench/shipped/ship_model.py runs/s-rnn s-rnn

# S-GAN: the S-RNN was its likelihood warm-up.
python bench/shipped/generator_of.py runs/s-rnn runs/generator
muspike train s-gan --preset small -o runs/s-gan --init runs/generator --steps 300
python bench/shipped/ship_model.py runs/s-gan s-gan

# S-LSTM, then with the Transformer as its teacher (its model of step 1100).
muspike train s-lstm --preset small -o runs/s-lstm-1 --steps 3500
muspike train s-lstm --preset small -o runs/s-lstm --init runs/s-lstm-1 --teacher runs/ann-transformer --steps 1200 --learning-rate 3e-3
python bench/shipped/ship_model.py runs/s-lstm s-lstm

# S-Transformer: the first run with dropout 0.1; then with the same teacher.
muspike train s-transformer --preset small -o runs/s-transformer-1
muspike train s-transformer --preset small -o runs/s-transformer --init runs/s-transformer-1 --teacher runs/ann-transformer --steps 1100 --learning-rate 2e-3
python bench/shipped/ship_model.py runs/s-transformer s-transformer
