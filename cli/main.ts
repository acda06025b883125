#!/usr/bin/env node
/**
 * The executable as npm installs it. The version is answered here: whatever else is loaded takes longer than it takes Node to
 * start (bench/start-up.ts measures it), and scripts that look for accel ask for nothing else.
 */
import { writesVersion } from './quick-version.ts';

// A failure ends the process as an unhandled rejection.
if (!writesVersion(process.argv.slice(2))) void import('./installed.ts');
