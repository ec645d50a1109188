// Sounds are heard to their end before a form is sent, and counted. The server checks the time as well.
"use strict";

// How much of a sound must have been played when it ends. Some browsers round the lengths of what they played.
const WHOLE = 0.95;

function played(audio) {
  let seconds = 0;
  for (let index = 0; index < audio.played.length; index++) seconds += audio.played.end(index) - audio.played.start(index);
  return seconds;
}

function player(box) {
  const audio = box.querySelector("audio"), button = box.querySelector("button"), does = box.querySelector(".does");
  const bar = box.querySelector("progress"), heard = box.querySelector(".heard"), field = box.querySelector("[data-plays]");
  const says = box.dataset;
  let times = 0, counted = 0;
  audio.removeAttribute("controls");
  box.querySelector(".own").hidden = false;
  if (field) field.value = "0";

  function show() {
    box.classList.toggle("playing", !audio.paused);
    does.textContent = audio.paused ? (times && audio.ended ? says.again : says.play) : says.pause;
  }
  function fail() { heard.textContent = says.failed; }

  button.addEventListener("click", () => {
    if (!audio.paused) { audio.pause(); return; }
    for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
    audio.play().catch(fail);
  });
  audio.addEventListener("play", show);
  audio.addEventListener("pause", show);
  audio.addEventListener("error", fail);
  audio.addEventListener("timeupdate", () => { if (audio.duration) bar.value = audio.currentTime / audio.duration; });
  audio.addEventListener("ended", () => {
    bar.value = 1;
    // What was played stays played when a sound is heard again, so only the first time shows whether it was whole.
    if (times || played(audio) >= WHOLE * audio.duration) {
      times += 1;
      box.classList.add("done");
      if (field) {
        field.value = String(times);
        heard.textContent = times === 1 ? says.once : says.times.replace("{count}", times);
      }
      box.dispatchEvent(new Event("heard", { bubbles: true }));
    }
    show();
  });
  return { button, heard: () => times > 0 };
}

for (const box of document.querySelectorAll("[data-player]")) box.player = player(box);

for (const form of document.querySelectorAll("form")) {
  let sent = false;
  const hint = form.querySelector("[data-hint]");
  // What is missing is said in the language of the page; the browser would say it in its own.
  form.addEventListener("invalid", ({ target }) => target.setCustomValidity(target.dataset.wrong || form.dataset.wrong || ""), true);
  form.addEventListener("input", ({ target }) => {
    for (const field of form.elements) if (field.name === target.name) field.setCustomValidity("");
  });
  form.addEventListener("heard", () => { if (hint) hint.textContent = ""; });
  form.addEventListener("submit", (event) => {
    const left = "listen" in form.dataset
      ? [...form.querySelectorAll("[data-player]")].find((box) => !box.player.heard()) : undefined;
    if (left) {
      event.preventDefault();
      hint.textContent = hint.dataset.hint;
      left.player.button.focus();
    } else if (sent) {
      event.preventDefault();
    } else {
      sent = true;
    }
  });
  window.addEventListener("pageshow", () => { sent = false; });
}

// A page that the browser kept may be out of date; the server knows where the listener is.
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

const problem = document.getElementById("problem");
if (problem) problem.focus();
