/** The image that most benchmarks convert: one layer of a language runtime with its packages and a model, by gzip -6. */
import { type ImageRecipe, makeImage } from './make-image.ts';
import { RUNTIME } from './mixes.ts';
import type { LayerRecipe } from './write-layer.ts';

/** Decides the bytes of the generated layer; the others count up from it. */
export const SEED = 20_260_801;

/** The one layer, about 1.1 GB of tar at scale 1; a smaller scale has fewer files of the same kinds. */
export function runtimeLayer(scale: number): LayerRecipe {
  return { seed: SEED, mix: RUNTIME, scale };
}

/** The image of that layer alone. */
export function oneLayer(scale: number): ImageRecipe {
  return { folder: `one-layer-2-scale-${scale}`, layers: [runtimeLayer(scale)] };
}

/** The OCI layout with the generated image under the tag `latest`, made in `directory` if it is not there yet. */
export function makeLayer(directory: string, scale = 1): Promise<string> {
  return makeImage(directory, oneLayer(scale));
}
