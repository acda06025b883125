#!/usr/bin/env node
/** The executable as npm installs it. */
import { start } from './start.ts';

await start({
  program: import.meta.url,
  resolve: (name) => import.meta.resolve(name),
  load: (name) => import(name),
});
