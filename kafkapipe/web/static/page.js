"use strict";

const RECENT = 4;
const LOOK_MS = 1000; // between two questions where an event is
const LOOKS = 120;
const nameField = document.getElementById("user_name");
const statusLine = document.getElementById("status");
const sentList = document.getElementById("sent");
const switcher = document.getElementById("language");

const TEXTS = {
  ko: {
    title: "좋아하는 색을 고르세요", name: "이름", hint: "이름을 적고 색을 누르세요.", empty: "이름을 입력하세요.",
    colors: "색", list: "보낸 색", idle: "고른 색은 Kafka로 갑니다.",
    sending: (user, color) => `${user} 님의 ${color}, 보내는 중…`,
    sent: (user, color) => `✓ ${user} 님의 ${color}, 보냈습니다.`,
    kept: (user, color) => `✓ ${user} 님의 ${color}, 받아 두었습니다. Kafka로 곧 갑니다.`,
    stored: (user, color) => `✓ ${user} 님의 ${color}, 모두 저장되었습니다.`,
    failed: (color, why) => `${color}: 보내지 못했습니다. 다시 눌러 주세요. (${why})`,
    waits: "기다리는 중", file: "파일",
    partition: (partition, offset) => `파티션 ${partition}, 오프셋 ${offset}`,
  },
  en: {
    title: "Pick a colour", name: "Your name", hint: "Type your name, then press a colour.",
    empty: "Please type your name.", colors: "Colours", list: "Colours you sent", idle: "Your pick goes to Kafka.",
    sending: (user, color) => `${user}’s ${color} is on its way…`,
    sent: (user, color) => `✓ ${user}’s ${color}: sent.`,
    kept: (user, color) => `✓ ${user}’s ${color}: taken, and on its way to Kafka.`,
    stored: (user, color) => `✓ ${user}’s ${color}: stored everywhere.`,
    failed: (color, why) => `${color}: not sent. Please press it again. (${why})`,
    waits: "waiting", file: "File",
    partition: (partition, offset) => `partition ${partition}, offset ${offset}`,
  },
};
let language = chosenLanguage();
let text = TEXTS[language];
let line = () => text.idle; // what the status line says, in any language

// ---- the language: ?lang=, the last choice here, or the browser's

function chosenLanguage() {
  let kept = null;
  try { kept = localStorage.getItem("lang"); } catch { /* forbidden */ }
  const wanted = [new URLSearchParams(location.search).get("lang"), kept, ...navigator.languages, "en"];
  return wanted.map((each) => each?.slice(0, 2)).find((each) => each in TEXTS);
}

function speak(chosen) {
  language = chosen;
  text = TEXTS[language];
  document.documentElement.lang = language;
  document.title = text.title;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text[element.dataset.text];
  document.querySelector(".colors").setAttribute("aria-label", text.colors);
  sentList.setAttribute("aria-label", text.list);
  for (const button of document.querySelectorAll("button[data-color]")) {
    button.prepend(button.querySelector(`[lang=${language}]`), " "); // its word first
    button.normalize();
  }
  const other = language === "ko" ? "en" : "ko";
  switcher.lang = switcher.hreflang = other;
  switcher.textContent = other === "ko" ? "한국어" : "English";
  switcher.href = `?lang=${other}`;
  statusLine.textContent = line();
  for (const item of sentList.children) item.speak();
}

const word = (color) => document.querySelector(`button[data-color=${color}] [lang=${language}]`).textContent;

// ---- sending

async function send(color, user) {
  // keepalive: a click just before the page is left still goes out
  const url = `api/select?color=${encodeURIComponent(color)}&user=${encodeURIComponent(user)}`;
  const response = await fetch(url, { cache: "no-store", keepalive: true });
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Error(problem.detail || `HTTP ${response.status}`);
  }
  return response;
}

function say(kind, sentence) {
  line = sentence;
  statusLine.dataset.kind = kind;
  statusLine.textContent = line();
}

async function pick(color) {
  const user = nameField.value;
  if (user.trim() === "") return refuse();
  const slow = setTimeout(() => say("", () => text.sending(user, word(color))), 300);
  try {
    const response = await send(color, user);
    clearTimeout(slow);
    say("good", () => (response.status === 202 ? text.kept : text.sent)(user, word(color)));
    follow(response.headers.get("kafkapipe-trail"), remember(color, user));
  } catch (error) {
    clearTimeout(slow);
    say("bad", () => text.failed(word(color), error.message));
  }
}

function refuse() {
  nameField.setAttribute("aria-invalid", "true");
  setHint("empty");
  alert("이름을 입력하세요");
  nameField.focus();
}

function setHint(key) {
  const hint = document.getElementById("hint");
  hint.dataset.text = key;
  hint.textContent = text[key];
}

// ---- what was sent, and what became of it

function remember(color, user) {
  const item = document.createElement("li");
  item.dataset.color = color;
  const who = element("span", "who", user);
  const when = element("time");
  const now = new Date();
  when.dateTime = now.toISOString();
  const steps = element("ul");
  const what = element("span", "what");
  item.append(who, what, when, steps);
  item.user = user;
  item.steps = [];
  item.speak = () => {
    what.textContent = word(color);
    when.textContent = now.toLocaleTimeString(language);
    steps.replaceChildren(...item.steps.map(step));
  };
  item.speak();
  sentList.prepend(item);
  while (sentList.children.length > RECENT) sentList.lastElementChild.remove();
  return item;
}

function element(name, kind = "", content = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.textContent = content;
  return made;
}

function step({ place, found }) {
  const made = element("li", found ? "found" : "");
  const where = found?.path ?? found?.index ?? (found ? text.partition(found.partition, found.offset) : text.waits);
  made.append(element("b", "", place === "file" ? text.file : place), " ", element("span", "", where));
  return made;
}

/** Asks where the event is until it is everywhere; only the demo tells where that is asked. */
async function follow(trail, item) {
  if (!trail) return;
  for (let look = 0; look < LOOKS && item.isConnected; look++) {
    const answer = await fetch(trail, { cache: "no-store" }).catch(() => null);
    if (answer?.ok) {
      item.steps = (await answer.json()).steps;
      item.speak();
      if (item.steps.every(({ found }) => found)) {
        if (item === sentList.firstElementChild) say("good", () => text.stored(item.user, word(item.dataset.color)));
        return;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

// ---- hands

for (const button of document.querySelectorAll("button[data-color]")) {
  button.addEventListener("click", () => pick(button.dataset.color));
}
nameField.addEventListener("input", () => {
  nameField.removeAttribute("aria-invalid");
  setHint("hint");
});
document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault(); // Enter in the field goes on to the colours
  document.querySelector("button[data-color]").focus();
});
switcher.addEventListener("click", (event) => {
  event.preventDefault();
  speak(switcher.lang);
  try { localStorage.setItem("lang", language); } catch { /* forbidden */ }
});
speak(language);
