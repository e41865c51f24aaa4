// Where this browser is, told so coarsely that no address can be read from it.
import type { Coordinates } from "./api";

/** Degrees: about two kilometres. Nothing finer leaves the page. */
export const COARSE_DEG = 0.02;
const TIMEOUT_MS = 20_000;

export const coarse = (degrees: number) => Number((Math.round(degrees / COARSE_DEG) * COARSE_DEG).toFixed(2));

/** Ask the browser; throws an `Error` whose message says what is wrong and what to do. */
export function whereAmI(): Promise<Coordinates> {
  if (!isSecureContext || !("geolocation" in navigator)) {
    const why = "The browser tells where you are only on pages that it was given over https.";
    return Promise.reject(new Error(`${why} Choose the place by hand.`));
  }
  return new Promise((resolve, reject) => {
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => resolve({ latitude: coarse(coords.latitude), longitude: coarse(coords.longitude) }),
      (problem) => reject(new Error(inWords(problem))),
      { enableHighAccuracy: false, timeout: TIMEOUT_MS, maximumAge: 0 },
    );
  });
}

function inWords(problem: GeolocationPositionError): string {
  if (problem.code === problem.PERMISSION_DENIED) {
    return "The browser was not allowed to tell where you are. Allow it for this page in the browser's settings, or choose the place by hand.";
  }
  return "The browser could not find out where you are. Try again later, or choose the place by hand.";
}
