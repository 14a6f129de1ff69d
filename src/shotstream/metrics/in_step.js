// Keeps videos in step: all follow the clock of the first; one that is shorter stays on its last frame.
const MAX_DRIFT_S = 0.12;

export function follow(videos) {
  const [first, ...others] = videos;
  for (const video of others) {
    const wanted = Math.min(first.currentTime, video.duration || 0);
    if (Math.abs(video.currentTime - wanted) > MAX_DRIFT_S) video.currentTime = wanted;
  }
}

export const playing = (videos) => videos.some((video) => !video.paused && !video.ended);

export function play(videos) {
  if (videos.every((video) => video.ended)) for (const video of videos) video.currentTime = 0;
  for (const video of videos) if (!video.ended) video.play().catch(() => {});
}

export function pause(videos) {
  for (const video of videos) video.pause();
}

export function restart(videos) {
  for (const video of videos) video.currentTime = 0;
  play(videos);
}
