// The box with the labels: shows those in use until somebody types, and asks the program for others.

import { setText } from "./view.js";

const form = document.getElementById("labels-form");
const box = document.getElementById("labels-text");
const use = document.getElementById("labels-use");
const back = document.getElementById("labels-back");
const told = document.getElementById("labels-told");

let shown = null; // the revision in the box
let current = ""; // the labels in use, as text
let busy = false;
let asking = false;

const touched = () => box.value !== current;

// In quotes a comma is part of the name.
const asLine = (name) => (/,|^["'#;]|^\/\//.test(name) ? `"${name.replaceAll('"', '""')}"` : name);

// Called with every state; fetches the names only when they are others than those in the box.
export async function follow(labels) {
  setText(document.getElementById("labels-count"), `${labels.count.toLocaleString("en")} in use.`);
  if (shown === labels.revision || busy || asking) return;
  asking = true;
  try {
    const response = await fetch("labels", { signal: AbortSignal.timeout(5000) });
    if (response.ok) fill(await response.json(), labels.told);
  } finally {
    asking = false;
  }
}

function fill({ revision, count, names }, sentence) {
  const keep = shown !== null && touched();
  shown = revision;
  current = count > names.length ? "" : names.map(asLine).join("\n");
  box.placeholder = count > names.length ? `${count.toLocaleString("en")} labels, too many to list here` : "";
  if (!keep) box.value = current;
  back.disabled = !touched();
  if (sentence && !told.textContent) say(sentence, false);
}

function say(text, bad) {
  setText(told, text);
  told.classList.toggle("bad", bad);
}

async function ask() {
  const response = await fetch("labels", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Classify": "page" },
    body: JSON.stringify({ text: box.value }),
    signal: AbortSignal.timeout(120000),
  });
  const answer = await response.json().catch(() => ({ error: `the program answered ${response.status}` }));
  return response.ok ? [answer.told || "These labels are in use now.", false] : [answer.error, true];
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (busy) return;
  busy = use.disabled = true;
  say("Changing the labels; this may take some seconds…", false);
  let outcome;
  try {
    outcome = await ask();
  } catch {
    outcome = ["No answer: the connection was lost, so the labels may or may not be in use.", true];
  }
  busy = use.disabled = false;
  if (!outcome[1]) current = box.value; // so that the box takes the labels as the program has understood them
  back.disabled = !touched();
  say(...outcome);
});

box.addEventListener("input", () => {
  back.disabled = !touched();
});

back.addEventListener("click", () => {
  box.value = current;
  back.disabled = true;
  say("", false);
});
