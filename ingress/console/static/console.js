// Improves pages that work without it: it refreshes regions, copies, shows local times and listens to keys.

const keys = document.querySelectorAll("[data-key]");

function isTyping() {
  const element = document.activeElement;
  return element !== null && /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName);
}

document.addEventListener("keydown", (event) => {
  if (isTyping() || event.ctrlKey || event.metaKey || event.altKey) return;
  for (const element of keys) {
    if (element.dataset.key === event.key) {
      event.preventDefault();
      element.focus();
      return;
    }
  }
});

for (const time of document.querySelectorAll("time[datetime]:not([title])")) {
  time.title = `${new Date(time.dateTime).toLocaleString()} on your clock`;
}
