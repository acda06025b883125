/**
 * accel's version, the same as in package.json (a test compares them). A constant, because it goes into every artifact
 * and reading a file for it would make the artifact depend on where the code lies.
 */
export const VERSION = '0.2.0';
