// The payment page's choice of a way to pay, and its card form.  The card fields are the PSP's: an iframe on its own origin, which speaks by
// messages.  A message is believed only if it comes from that origin and from a window that this page opened; and even then it only makes
// our server ask the PSP itself.

const PSP_SPEAKS_AS = "sandbox-payments";
const LOADS_WITHIN_MS = 15_000;
const ANSWERS_WITHIN_MS = 30_000;

const at = (id) => document.getElementById(id);
const form = at("pay");
const says = form?.dataset ?? {};
const sessions = at("follow").dataset.session;
const button = at("pay-button");
const label = at("pay-label");
const dialog = at("challenge");
const payWords = label?.textContent;

let pspOrigin = "";
let session = ""; // the PSP's session that is shown
let fields = null; // the iframe with the card fields
let challenge = null; // the iframe with the bank's question
let isReady = false; // the card form can be submitted
let isPaying = false;
let isStale = false;
let cardIsConfirmed = false; // the PSP's session is complete: only our own confirmation is missing
let silence = 0;

// What the buyer sees

function showPaying() {
  isPaying = true;
  button.setAttribute("aria-disabled", "true");
  label.textContent = says.saysPaying;
  at("problem").hidden = true;
}

function showPayable() {
  isPaying = false;
  button.setAttribute("aria-disabled", String(!isReady && !savedCard()));
  label.textContent = payWords;
  window.clearTimeout(silence);
}

function showProblem(title, text) {
  showPayable();
  at("again").hidden = true;
  at("problem-title").textContent = title;
  at("problem-text").textContent = text;
  at("problem").hidden = false;
}

function showStuck(title, text) {
  isReady = false;
  showProblem(title, text);
  at("again").hidden = false;
  button.hidden = true;
}

// What our server is asked, one thing after the other: so that what was chosen last is what it remembers

let line = Promise.resolve();

function post(address, given = {}) {
  const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
  const headers = { Accept: "application/json", "X-CSRFToken": token };
  line = line
    .catch(() => {})
    .then(async () => {
      const response = await fetch(address, { method: "POST", headers, body: new URLSearchParams(given) });
      const answer = response.headers.get("Content-Type")?.startsWith("application/json") ? await response.json() : {};
      return { status: response.status, ok: response.ok, answer };
    });
  return line;
}

// The ways to pay

const chosenWay = () => document.querySelector("input[name=way]:checked")?.value ?? "card";
const savedCard = () => form.querySelector("input[name=saved_card]:checked")?.value ?? "";

async function choose(way) {
  if (way === "card") {
    showNewCard();
    if (savedCard()) {
      showPayable();
      return;
    }
    showPayable(); // not before the fields are there
    load();
    return;
  }
  let opened = null;
  try {
    opened = await post(sessions, { method: way });
  } catch {
    // the way's own part says that it could not be opened
  }
  if (opened?.status === 409) {
    window.location.reload();
  } else if (way === chosenWay()) {
    document.dispatchEvent(new CustomEvent("way-opened", { detail: { way, answer: opened?.ok ? opened.answer : null } }));
  }
}

function showNewCard() {
  at("new-card").hidden = savedCard() !== "" || cardIsConfirmed;
}

// The PSP's session and its fields

async function load() {
  at("problem").hidden = true;
  at("loading").hidden = fields !== null;
  window.clearTimeout(silence);
  silence = window.setTimeout(() => showStuck(says.saysLoadTitle, says.saysLoad), LOADS_WITHIN_MS);
  let opened;
  try {
    opened = await post(sessions, { method: "card", save_card: at("save-card")?.checked ? "on" : "" });
  } catch {
    failToLoad(says.saysLoadTitle, says.saysLoad);
    return;
  }
  const { status, ok, answer } = opened;
  if (ok) {
    showForm(answer);
  } else if (status === 409) {
    window.location.reload(); // it stands differently now, and the page says how
  } else if (status === 403) {
    failAsStale();
  } else {
    failToLoad(answer.title || says.saysLoadTitle, answer.text || says.saysLoad);
  }
}

function failToLoad(title, text) {
  window.clearTimeout(silence);
  at("loading").hidden = true;
  at("fields").hidden = true;
  showStuck(title, text);
}

// The page's own key is too old, or cookies are off: only a new page helps.
function failAsStale() {
  isStale = true;
  failToLoad(says.saysStaleTitle, says.saysStale);
}

function showForm(opened) {
  pspOrigin = opened.origin;
  session = opened.session ?? "";
  at("fields").hidden = false;
  if (opened.card) {
    cardIsConfirmed = true; // confirmed before, in another tab or before a reload
    showNewCard();
    at("ready-text").textContent = opened.card;
    at("ready").hidden = false;
    becomeReady();
    return;
  }
  if (fields?.getAttribute("src") === opened.fields_url && isReady) {
    becomeReady(); // chosen again: what was typed is still there
    return;
  }
  fields?.remove();
  fields = frameOf(opened.fields_url, at("fields").dataset.title);
  at("fields").append(fields);
}

function becomeReady() {
  window.clearTimeout(silence);
  at("loading").hidden = true;
  at("problem").hidden = true;
  isReady = true;
  button.hidden = false;
  showPayable();
}

function frameOf(address, title) {
  if (new URL(address).origin !== pspOrigin) {
    throw new Error("The card form is not at its company's address.");
  }
  const frame = document.createElement("iframe");
  frame.src = address;
  frame.title = title;
  frame.referrerPolicy = "no-referrer";
  return frame;
}

// Paying: once

function pay(event) {
  if (event.submitter?.hasAttribute("formaction")) {
    return; // a kept card is deleted: the browser does that
  }
  event.preventDefault();
  if (isPaying || (!isReady && !savedCard())) {
    return;
  }
  showPaying();
  if (cardIsConfirmed) {
    confirmPayment();
  } else if (savedCard()) {
    payWithSavedCard();
  } else {
    silence = window.setTimeout(() => showStuck(says.saysSilentTitle, says.saysSilent), ANSWERS_WITHIN_MS);
    fields.contentWindow.postMessage({ source: PSP_SPEAKS_AS, type: "submit" }, pspOrigin);
  }
}

async function payWithSavedCard() {
  let opened;
  try {
    opened = await post(sessions, { method: "card", saved_card: savedCard() });
  } catch {
    showProblem(says.saysOfflineTitle, says.saysOffline);
    return;
  }
  const { status, ok, answer } = opened;
  if (ok && answer.status === "requires_action") {
    window.location.assign(answer.hosted_url); // the bank asks on the PSP's page, which leads back here
  } else if (ok) {
    session = answer.session ?? "";
    cardIsConfirmed = true;
    confirmPayment();
  } else if (status === 409) {
    window.location.reload();
  } else if (status === 403) {
    failAsStale();
  } else {
    showProblem(answer.title || says.saysLoadTitle, answer.text || says.saysLoad);
  }
}

async function confirmPayment() {
  window.clearTimeout(silence);
  let confirmed;
  try {
    confirmed = await post(form.action, session ? { session } : {});
  } catch {
    await findOut();
    return;
  }
  const { status, ok, answer } = confirmed;
  if (ok) {
    window.location.replace(answer.url);
  } else if (answer.title) {
    cardIsConfirmed = cardIsConfirmed && status === 503;
    showProblem(answer.title, answer.text);
  } else if (status === 403) {
    failAsStale();
  } else {
    window.location.replace(says.page);
  }
}

// The answer was lost on its way: the payment may have started, so ask before saying anything about it.
async function findOut() {
  try {
    const response = await fetch(says.status, { headers: { Accept: "application/json" }, cache: "no-store" });
    const { can_pay: canPay } = await response.json();
    if (!canPay) {
      window.location.replace(says.page);
      return;
    }
  } catch {
    // still no connection: the button asks again
  }
  showProblem(says.saysOfflineTitle, says.saysOffline);
}

// 3-D Secure

function openChallenge(address) {
  window.clearTimeout(silence);
  challenge = frameOf(address, at("challenge-frame").dataset.title);
  at("challenge-frame").replaceChildren(challenge);
  dialog.showModal();
  challenge.addEventListener("load", () => challenge?.focus(), { once: true });
}

function closeChallenge() {
  challenge = null;
  at("challenge-frame").replaceChildren();
  dialog.close();
  button.focus();
}

function stopChallenge() {
  closeChallenge();
  showProblem(says.saysStoppedTitle, says.saysStopped);
}

// What the PSP's windows may say

function showInvalid(complaints) {
  showPayable();
  const words = Object.values(complaints ?? {}).filter((complaint) => typeof complaint === "string");
  at("announce").textContent = words.join(" ") || says.saysCheck;
}

function resize(height) {
  if (Number.isFinite(height)) {
    const kept = Math.min(Math.max(height, 100), 800);
    fields.style.blockSize = `${Math.ceil(kept)}px`;
    at("fields").style.minBlockSize = `${Math.ceil(kept)}px`;
  }
}

function becomeConfirmed() {
  cardIsConfirmed = true;
  if (challenge) {
    closeChallenge();
  }
  if (isPaying) {
    confirmPayment(); // otherwise another tab did it, and the button here still asks
  }
}

function becomeRefused({ message }) {
  if (challenge) {
    closeChallenge();
  }
  showProblem(says.saysRefusedTitle, typeof message === "string" && message ? message.slice(0, 300) : says.saysRefused);
}

const fromFields = {
  ready: becomeReady,
  resize: ({ height }) => resize(height),
  invalid: (message) => showInvalid(message.fields),
  challenge: ({ url }) => openChallenge(url),
  complete: becomeConfirmed,
  failed: becomeRefused,
  enter: () => form.requestSubmit(button),
};
const fromChallenge = { complete: becomeConfirmed, failed: becomeRefused };

window.addEventListener("message", (event) => {
  if (!pspOrigin || event.origin !== pspOrigin || event.data?.source !== PSP_SPEAKS_AS) {
    return;
  }
  const known = event.source === fields?.contentWindow ? fromFields : event.source === challenge?.contentWindow ? fromChallenge : {};
  if (Object.hasOwn(known, event.data.type)) {
    known[event.data.type](event.data);
  }
});

for (const radio of document.querySelectorAll("input[name=way]")) {
  radio.addEventListener("change", () => choose(radio.value));
}
if (form) {
  form.hidden = false;
  at("hosted").hidden = true;
  form.addEventListener("submit", pay);
  at("again").addEventListener("click", () => (isStale ? window.location.reload() : load()));
  at("challenge-close").addEventListener("click", stopChallenge);
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    stopChallenge();
  });
  for (const radio of form.querySelectorAll("input[name=saved_card]")) {
    radio.addEventListener("change", () => choose("card"));
  }
  at("save-card")?.addEventListener("change", load);
}
if (form || chosenWay() !== "card") {
  choose(chosenWay());
}
