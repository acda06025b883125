/**
 * The parser of YAML. `npm run build` puts the package into a file of the program (scripts/build-program.ts), so that accel
 * does not depend on it at run time; it is loaded only where a file of settings exists (decision 0027).
 */
import { isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';

/** The part of the package that reads a file of settings. */
export const YAML = { isMap, isScalar, isSeq, LineCounter, parseDocument };
