/** Elements by name; text only ever goes in as text. */

/** What no property can be set for. */
const ATTRIBUTES = new Set(["role", "for", "form", "list"]);

/**
 * Makes an element.
 *
 * Properties are set as properties (`className`, `onclick`, `value`); those in `ATTRIBUTES` and with a dash as attributes.
 * @param {string} tag
 * @param {Record<string, any>} [properties] null and undefined are left out
 * @param {...(Node|string|null|undefined|false)} children
 * @returns {HTMLElement}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.includes("-") || ATTRIBUTES.has(name)) made.setAttribute(name, value);
    else made[name] = value;
  }
  fill(made, ...children);
  return made;
}

/**
 * Puts children into an element in place of those it has.
 * @param {HTMLElement} parent
 * @param {...(Node|string|null|undefined|false)} children
 */
export function fill(parent, ...children) {
  parent.replaceChildren(...children.filter((child) => child || child === ""));
}

/**
 * A button that does something.
 * @param {string} label what it shows, and its name unless `properties` has another
 * @param {() => void} action
 * @param {Record<string, any>} [properties]
 * @returns {HTMLButtonElement}
 */
export function button(label, action, properties = {}) {
  return element("button", { type: "button", onclick: action, ...properties }, label);
}

/**
 * A picture that goes away where it cannot be had, and leaves its place empty.
 * @param {string} src
 * @param {string} alt
 * @returns {HTMLImageElement}
 */
export function picture(src, alt) {
  const image = element("img", { alt, loading: "lazy", decoding: "async", draggable: false });
  image.onerror = () => image.classList.add("missing");
  image.src = src;
  return image;
}

/**
 * Gives a parent these children in this order; those it has already stay where they are, and keep the focus.
 * @param {HTMLElement} parent
 * @param {HTMLElement[]} children
 */
export function arrange(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
}
