/** Three stories to begin with, in the words that the embedded model knows. */

/**
 * @typedef {object} Example
 * @property {string} title
 * @property {string} picture where a picture of it lies
 * @property {string} caption what holds throughout
 * @property {number} seed
 * @property {[text: string, chunks: number][]} shots
 */

/** @type {Example[]} */
export const EXAMPLES = [
  {
    title: "The fox and the owl",
    picture: "/web/pictures/forest.png",
    caption: "A red fox and a blue owl in a forest by day.",
    seed: 7,
    shots: [
      ["Wide shot of the fox and the owl: they wave.", 3],
      ["Medium shot: the fox walks right.", 4],
      ["Close-up: the owl eats.", 3],
      ["Wide shot: the fox and the owl dance. The camera pushes in.", 4],
    ],
  },
  {
    title: "A robot by the sea",
    picture: "/web/pictures/beach.png",
    caption: "A white robot and a green frog on a beach at dusk.",
    seed: 3,
    shots: [
      ["Wide shot: the robot walks left. The camera pans left.", 4],
      ["Medium shot of the frog: it jumps.", 3],
      ["Close-up: the robot waves.", 3],
      ["Wide shot: the robot and the frog dance.", 4],
    ],
  },
  {
    title: "Night in the city",
    picture: "/web/pictures/city.png",
    caption: "A purple rabbit and a yellow bear in a city at night.",
    seed: 11,
    shots: [
      ["Wide shot: the rabbit and the bear walk right.", 4],
      ["Close-up: the rabbit eats.", 3],
      ["Medium shot: the bear dances. Slow zoom in.", 4],
      ["Close-up of the bear: it sleeps.", 3],
    ],
  },
];
