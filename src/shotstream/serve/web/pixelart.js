/** Pixel art is enlarged with sharp pixels; larger pictures are scaled smoothly. */

/** Pictures up to this width, in pixels, are pixel art. */
const PIXEL_ART_WIDTH = 320;

/** Whether pictures of that width are pixel art. @param {number} width @returns {boolean} */
export function isPixelArt(width) {
  return width <= PIXEL_ART_WIDTH;
}

/** Scales the pictures within an element as those of a story of that width. @param {HTMLElement} place @param {number} width */
export function scaleAs(place, width) {
  place.classList.toggle("pixel-art", isPixelArt(width));
}
