"use strict";

const RECENT = 4;
const nameField = document.getElementById("user_name");
const statusLine = document.getElementById("status");
const sentList = document.getElementById("sent");

async function send(color, user) {
  // keepalive: a click just before the page is left still goes out
  const url = `api/select?color=${encodeURIComponent(color)}&user=${encodeURIComponent(user)}`;
  const response = await fetch(url, { cache: "no-store", keepalive: true });
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Error(problem.detail || `HTTP ${response.status}`);
  }
}

function say(kind, korean, english) {
  const translation = document.createElement("span");
  translation.lang = "en";
  translation.textContent = english;
  statusLine.dataset.kind = kind;
  statusLine.replaceChildren(korean, " ", translation);
}

function remember(color, user) {
  const item = document.createElement("li");
  item.dataset.color = color;
  const who = document.createElement("span");
  who.textContent = user;
  const when = document.createElement("time");
  when.textContent = new Date().toLocaleTimeString("ko-KR");
  item.append(who, when);
  sentList.prepend(item);
  while (sentList.children.length > RECENT) sentList.lastElementChild.remove();
}

async function pick(button) {
  const user = nameField.value;
  if (user.trim() === "") {
    nameField.setAttribute("aria-invalid", "true");
    alert("이름을 입력하세요");
    nameField.focus();
    return;
  }
  const color = button.dataset.color;
  const label = button.querySelector("b").textContent;
  try {
    await send(color, user);
    remember(color, user);
    say("good", `✓ ${user} 님의 ${label}, 보냈습니다.`, "Sent.");
  } catch (error) {
    say("bad", `${label}을 보내지 못했습니다. 다시 눌러 주세요.`, `Not sent: ${error.message}`);
  }
}

for (const button of document.querySelectorAll("button[data-color]")) {
  button.addEventListener("click", () => pick(button));
}
nameField.addEventListener("input", () => nameField.removeAttribute("aria-invalid"));
document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault(); // Enter in the field goes on to the colours
  document.querySelector("button[data-color]").focus();
});
