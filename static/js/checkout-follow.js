// The page that can be paid follows what happens elsewhere: on the buyer's phone, on the PSP's page, in another tab; and how long it is open.

const PAUSES_S = [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 5, 5, 5, 5, 10]; // the last one for ever
const LATE_MIN = 10; // from here on the minutes that are left are shown

const ANY = "any";

const followed = document.getElementById("follow");
const left = document.getElementById("left");
const aloud = document.getElementById("left-aloud");
let way = "card"; // a card is followed by its own form
let known = ""; // how the way's session stood when it was opened
let asked = 0;
let timer = 0;

async function follow() {
  window.clearTimeout(timer);
  if (document.visibilityState !== "visible") {
    return; // goes on when it is looked at again
  }
  try {
    const response = await fetch(followed.dataset.status, { headers: { Accept: "application/json" }, cache: "no-store" });
    const { state, method } = await response.json();
    const isMine = way === ANY || (way !== "card" && method?.name === way && method.state !== "expired");
    const moved = isMine && method?.state !== known;
    if (response.ok && (state !== followed.dataset.state || moved)) {
      window.location.reload();
      return;
    }
  } catch {
    // no connection: the next time
  }
  wait();
}

function wait() {
  window.clearTimeout(timer);
  if (way !== "card") {
    timer = window.setTimeout(follow, PAUSES_S[Math.min(asked, PAUSES_S.length - 1)] * 1000);
    asked += 1;
  }
}

document.addEventListener("way-opened", ({ detail }) => {
  way = detail.way;
  known = { qr: "waiting_for_phone" }[way] ?? detail.answer?.status ?? "";
  asked = 0;
  if (detail.answer) {
    wait();
  }
});
for (const radio of document.querySelectorAll("input[name=way]")) {
  radio.addEventListener("change", () => {
    way = radio.value === "card" ? "card" : way;
    window.clearTimeout(timer);
  });
}
document.addEventListener("visibilitychange", follow);
window.addEventListener("online", follow);

// Approved, or looked at by a person: whatever becomes of it, the page is another one then
if (["in_review", "approved"].includes(followed.dataset.methodState)) {
  [way, known] = [ANY, followed.dataset.methodState];
  wait();
}

// How long the page is open: shown late, said aloud twice

const closes = Date.now() + Number(followed.dataset.secondsLeft) * 1000;
let said = Infinity;

function count() {
  const seconds = Math.round((closes - Date.now()) / 1000);
  if (seconds <= 0) {
    window.setTimeout(() => window.location.reload(), 1500); // by then it is over for our server too
    return;
  }
  const minutes = Math.ceil(seconds / 60);
  if (minutes <= LATE_MIN) {
    left.textContent = left.dataset.says.replace("{minutes}", String(minutes));
  }
  for (const [limit, words] of [[5, aloud.dataset.saysFive], [1, aloud.dataset.saysOne]]) {
    if (minutes <= limit && said > limit && minutes > limit - 1) {
      aloud.textContent = words;
      said = limit;
    }
  }
  window.setTimeout(count, Math.min(30_000, Math.max(1000, (seconds % 60) * 1000 + 200)));
}

if (followed.dataset.secondsLeft) {
  count();
}
