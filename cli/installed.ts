/** The program that npm installed, with the packages beside it: what main.ts loads for all but the version. */
import { start } from './start.ts';

void start({
  program: import.meta.url,
  resolve: (name) => import.meta.resolve(name),
  load: (name) => import(name),
});
