// What the pages do beside htmx: follow a job's events, ask the API on a button, show sliders.
"use strict";

const LEAST_MS = 1000; // between two updates, however many events come

// --- live: the API's own stream of events tells when to look again -----------------------------

let told = 0;
let pending = null;

function tell() {
  if (pending !== null) return;
  pending = setTimeout(() => {
    pending = null;
    told = Date.now();
    document.body.dispatchEvent(new CustomEvent("job-event"));
  }, Math.max(0, told + LEAST_MS - Date.now()));
}

function follow(address) {
  let last = null;
  const source = new EventSource(address);
  source.onmessage = (event) => { last = event.lastEventId; tell(); };
  source.onerror = () => {
    tell(); // the job may have ended
    if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself
    if (document.querySelector("#head[hx-get]") === null) return;
    const next = last === null ? address : address.replace(/after=\d+/, `after=${last}`);
    setTimeout(() => follow(next), 3000);
  };
  addEventListener("pagehide", () => source.close(), { once: true });
}

// --- forms that ask the API -------------------------------------------------------------------

function notice(text) {
  const place = document.getElementById("notice");
  place.textContent = text;
  place.className = text ? "problem" : "";
}

function bodyOf(form) {
  const fields = [...form.elements].filter((each) => each.name);
  if (fields.length === 0) return null;
  const value = (each) => (each.dataset.type === "number" ? Number(each.value) : each.value);
  return JSON.stringify(Object.fromEntries(fields.map((each) => [each.name, value(each)])));
}

async function ask(form) {
  const [method, address] = form.dataset.api.split(" ");
  const body = bodyOf(form);
  const headers = body === null ? {} : { "content-type": "application/json" };
  notice("");
  try {
    const answer = await fetch(address, { method, headers, body });
    if (!answer.ok) {
      const problem = await answer.json().catch(() => ({}));
      notice(problem.detail ?? `${method} ${address}: ${answer.status}`);
      return;
    }
  } catch {
    notice("The server does not answer; try again.");
    return;
  }
  const then = form.dataset.then;
  if (then && then !== "reload") location.assign(then);
  else location.reload();
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.api) return;
  event.preventDefault();
  if (!form.dataset.ask || confirm(form.dataset.ask)) ask(form);
});

// --- sliders ----------------------------------------------------------------------------------

const UNITS = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

function count(number) {
  for (const [size, unit] of UNITS) {
    if (number >= size * 0.9995) return `${Number((number / size).toPrecision(3))}${unit}`;
  }
  return `${Math.round(number)}`;
}

function showSlider(slider) {
  const output = document.getElementById(slider.dataset.output);
  const whole = Number(slider.dataset.whole);
  output.textContent = `${slider.value}%` + (whole ? ` = ${count(whole * slider.value / 100)}` : "");
}

document.addEventListener("input", (event) => {
  const slider = event.target;
  if (slider.dataset.output) showSlider(slider);
  if (slider.type === "range") {
    const use = document.getElementById(slider.id.replace("f-budget.", "f-use-"));
    if (use && use.type === "checkbox") use.checked = true; // who moves it means it
  }
});

// --- what htmx swaps --------------------------------------------------------------------------

let ticked = [];

document.addEventListener("htmx:beforeSwap", (event) => {
  const boxes = event.detail.target.querySelectorAll("input[type=checkbox][name=item]:checked");
  ticked = [...boxes].map((each) => each.id);
  if (event.detail.xhr.status >= 400 && event.detail.requestConfig.verb === "get") {
    event.detail.shouldSwap = false; // what was there is better than nothing
  }
});

document.addEventListener("htmx:afterSettle", (event) => {
  for (const id of ticked) {
    const box = document.getElementById(id);
    if (box) box.checked = true;
  }
  ticked = [];
  for (const done of event.target.querySelectorAll("[data-sets]")) {
    const field = document.getElementById(done.dataset.sets);
    if (field === null || field.value === done.dataset.value) continue;
    field.value = done.dataset.value;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }
  const refused = event.target.querySelector("#refused");
  if (refused) refused.focus();
});

document.addEventListener("htmx:sendError", () => notice("The server does not answer; trying again."));
document.addEventListener("htmx:afterOnLoad", () => {
  if (document.getElementById("notice").textContent.startsWith("The server does not answer")) notice("");
});

if (document.body.dataset.events) follow(document.body.dataset.events);
