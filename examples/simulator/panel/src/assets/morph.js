// Makes a part look as the program rendered it, touching only what differs: focus, open rows and scrolling stay.

/** Attributes that belong to the reader of the page, not to the program. */
const KEPT = new Map([["TR", ["hidden"]], ["BUTTON", ["aria-busy"]], ["DETAILS", ["open"]]]);

export function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  attributes(old, fresh);
  if (!old.dataset?.keep && old.dataset?.keep === undefined) children(old, fresh);
}

function attributes(old, fresh) {
  const kept = KEPT.get(old.tagName) ?? [];
  const toggled = old.hasAttribute("data-toggle") ? ["aria-expanded"] : [];
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !kept.includes(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (kept.includes(name) || toggled.includes(name)) continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

/** Puts the children of `fresh` into `old`, by key where there is one and by place where there is none. */
export function children(old, fresh) {
  const keyed = new Map();
  for (const child of old.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const key = next.dataset?.key;
    const same = key ? keyed.get(key) : fits(at, next) ? at : null;
    if (!same || same.nodeName !== next.nodeName) {
      old.insertBefore(next, at);
    } else {
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      if (same.nodeType === Node.ELEMENT_NODE) morph(same, next);
      else if (same.data !== next.data) same.data = next.data;
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function fits(old, fresh) {
  return old && old.nodeName === fresh.nodeName && !old.dataset?.key;
}
