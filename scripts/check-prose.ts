/**
 * The gate of the prose: no file uses a habit of prose-habits.ts. Folders and files of prose-exempt.txt are left out
 * until someone has rewritten them; a line that exempts nothing any more is a complaint too, so the list only shrinks.
 */
import { readFileSync } from 'node:fs';
import { proseComplaints, readExemptions } from './prose-checks.ts';
import { listFiles, OTHER_ROOMS, PRODUCT_ROOMS } from './source-files.ts';

const EXEMPTIONS_PATH = 'scripts/prose-exempt.txt';
/** Files that quote the habits: the list of them, and its test. */
const QUOTING: ReadonlySet<string> = new Set(['scripts/prose-habits.ts', 'scripts/prose-checks.test.ts']);
const ROOT_FILES = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md', 'index.ts'];

const root = process.cwd();
const exemptions = readExemptions(readFileSync(EXEMPTIONS_PATH, 'utf8'));
const files = [
  ...listFiles(root, [...PRODUCT_ROOMS, ...OTHER_ROOMS, 'docs'], ['.ts', '.md']).filter(
    ({ path }) => !QUOTING.has(path),
  ),
  ...ROOT_FILES.map((path) => ({ path, text: readFileSync(path, 'utf8') })),
];
const complaints: string[] = [];
const needed = new Set<string>();
let exempted = 0;
for (const file of files) {
  const found = proseComplaints(file);
  const exemption = exemptions.find(
    (prefix) => file.path === prefix || (prefix.endsWith('/') && file.path.startsWith(prefix)),
  );
  if (exemption === undefined) complaints.push(...found);
  else if (found.length > 0) {
    needed.add(exemption);
    exempted += found.length;
  }
}
for (const exemption of exemptions)
  if (!needed.has(exemption))
    complaints.push(`${EXEMPTIONS_PATH}: ${exemption} has no complaint left: remove the line`);
for (const complaint of complaints) process.stderr.write(`${complaint}\n`);
console.log(`prose: ${files.length} files read, ${complaints.length} complaints, ${exempted} in exempt files`);
if (complaints.length > 0) process.exitCode = 1;
