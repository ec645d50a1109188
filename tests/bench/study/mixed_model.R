# What R's ordinal::clmm makes of mixed_model.csv: prints a JSON object, which is kept as mixed_model.json.
# Rscript mixed_model.R mixed_model.csv
suppressMessages(library(ordinal))
data <- read.csv(commandArgs(trailingOnly = TRUE)[1])
data$ls <- factor(paste(data$listener, data$source))
for (name in c("listener", "piece", "source", "group")) data[[name]] <- factor(data[[name]])
data$rating <- ordered(data$rating)
data$high <- ordered(as.integer(data$rating) > 3)
numbers <- function(x) paste0("[", paste(sprintf("%.10g", x), collapse = ", "), "]")
told <- function(name, model, terms) {
  sds <- sapply(terms, function(term) attr(VarCorr(model)[[term]], "stddev"))
  errors <- sqrt(diag(vcov(model)))[names(model$beta)]
  sprintf('"%s": {"log_likelihood": %.10g, "thresholds": %s, "beta": %s, "errors": %s, "sds": %s}', name,
    as.numeric(logLik(model)), numbers(model$alpha), numbers(model$beta), numbers(errors), numbers(sds))
}
control <- clmm.control(gradTol = 1e-7)
three <- clmm(rating ~ source * group + (1 | listener) + (1 | piece) + (1 | ls), data, control = control)
two <- clmm(rating ~ source + (1 | listener) + (1 | piece), data, control = control)
binary <- clmm(high ~ source + (1 | listener) + (1 | piece), data, control = control)
cat("{\n", told("three terms", three, c("listener", "piece", "ls")), ",\n", told("two terms", two, c("listener", "piece")),
  ",\n", told("two points", binary, c("listener", "piece")), "\n}\n", sep = "")
