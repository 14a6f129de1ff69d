/** Frames as they come over the socket (`docs/protocol.md`): a header of fixed length, then a JPEG. */

const HEADER_BYTES = 28;
const VERSION = 1;
const JPEG = 1;

/**
 * @typedef {object} Frame
 * @property {number} shot from 0
 * @property {number} take of that shot, from 0
 * @property {number} frame of the shot, from 0
 * @property {number} timeMs its time in the video of its branch
 * @property {Uint8Array} bytes the JPEG
 */

/**
 * Reads a packet.
 * @param {ArrayBuffer} data
 * @returns {Frame}
 * @throws {RangeError} it is none of this version
 */
export function readPacket(data) {
  const view = new DataView(data);
  const known = data.byteLength > HEADER_BYTES && view.getUint16(0) === 0x5346; // "SF"
  if (!known || view.getUint8(2) !== VERSION || view.getUint8(3) !== JPEG) {
    throw new RangeError("The server sends pictures that this page does not know; reload it.");
  }
  const [shot, take, frame, timeMs] = [12, 16, 20, 24].map((at) => view.getUint32(at));
  return { shot, take, frame, timeMs, bytes: new Uint8Array(data, HEADER_BYTES) };
}

/** A frame's place as the server takes it. @param {{shot: number, take: number, frame: number}} at @returns {string} */
export function placeOf({ shot, take, frame }) {
  return `${shot}.${take}.${frame}`;
}
