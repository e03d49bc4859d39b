// Asks the program for its state again and again while the page is seen, for an image when there is a new one, and goes on after a break.

import { follow } from "./labels.js";
import { condition, draw, setText, showTrouble } from "./view.js";

const SOON = 150; // milliseconds after a state that told something new
const LATER = 500; // after one that did not
const RETRY = [1000, 2000, 4000]; // after a failure, the last again and again
const TIMEOUT = 5000;

const chip = document.getElementById("chip");
const picture = document.getElementById("picture");
const spoken = document.getElementById("spoken");

let etag = ""; // of the image that is shown
let loading = false;

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function seen() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((done) => document.addEventListener("visibilitychange", done, { once: true })).then(seen);
}

async function ask(address, headers = {}) {
  const response = await fetch(address, { headers, signal: AbortSignal.timeout(TIMEOUT) });
  if (response.status >= 400) {
    const answer = await response.json().catch(() => ({}));
    throw Object.assign(new Error(answer.error || `the program answered ${response.status}`), { told: true });
  }
  return response;
}

async function loadPicture() {
  if (loading) return;
  loading = true;
  try {
    const response = await ask("frame.jpg", etag ? { "If-None-Match": etag } : {});
    if (response.status !== 200) return;
    const address = URL.createObjectURL(await response.blob());
    const old = picture.src;
    picture.src = address;
    await picture.decode().catch(() => {});
    if (old) URL.revokeObjectURL(old);
    etag = response.headers.get("ETag") || "";
    picture.hidden = false;
    document.getElementById("no-picture").hidden = true;
    document.body.dataset.picture = `${picture.naturalWidth}x${picture.naturalHeight}`;
  } catch {
    // The state's own failure is the one that is told.
  } finally {
    loading = false;
  }
}

function show(kind, text) {
  setText(chip, text);
  if (chip.dataset.state === kind) return;
  chip.dataset.state = kind;
  setText(spoken, text); // read aloud only when the kind changes, not with every number
}

function tell(state) {
  document.body.classList.remove("lost");
  show(...condition(state));
  draw(state);
  if (state.picture && state.picture !== etag) loadPicture();
  follow(state.labels).catch(() => {}); // the names come with a later state
}

function lost(error) {
  document.body.classList.add("lost");
  show("trouble", error.told ? "not allowed in" : "connection lost");
  showTrouble(error.told ? error.message : "The program does not answer; trying again.");
}

async function main() {
  let before = null;
  let failed = 0;
  for (;;) {
    await seen();
    let state;
    try {
      state = await (await ask("state.json")).json();
    } catch (error) {
      lost(error);
      await sleep(RETRY[Math.min(failed, RETRY.length - 1)]);
      failed += 1;
      continue;
    }
    failed = 0;
    tell(state);
    await sleep(state.frames === before ? LATER : SOON);
    before = state.frames;
  }
}

main();
