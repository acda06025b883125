/** The standalone executable: Node and accel in one file, with the code of the threads as assets (scripts/package). */
import { getAsset } from 'node:sea';
import { holdThreadCode } from '../base/thread-code.ts';
import { start } from './start.ts';

holdThreadCode((name) => getAsset(name, 'utf8'));
const absent = (): never => {
  throw new Error('a standalone executable loads no packages');
};
// A failure ends the process as one of the installed program does: an unhandled rejection.
void start({ resolve: absent, load: absent });
