/** The bound on layers, the same for every command that reads them whole. */
import { Option } from 'commander';
import { parseMaxLayerSize } from './parse-values.ts';

/** Declares `--max-layer-size`. */
export function maxLayerSizeOption(): Option {
  return new Option('--max-layer-size <bytes>', 'bytes that a layer may have, uncompressed or as it is stored')
    .argParser(parseMaxLayerSize)
    .default(2 ** 38, '256G');
}
