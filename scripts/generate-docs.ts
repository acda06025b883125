/**
 * Writes what of the documentation is generated: docs/cli.md, the tables of docs/action.md and
 * docs/environment.md, and more. With `--check` it only says
 * whether the files are what it would write (exit 1 when not).
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { ACTION_DOCS_PATH, withActionTables } from './action-docs.ts';
import { API_DOCS_PATH, renderApiDocs } from './api-docs.ts';
import {
  CHART_SCHEMA_PATH,
  CHART_VALUES_PATH,
  KUBERNETES_DOCS_PATH,
  renderChartSchema,
  renderChartValues,
  withValuesTable,
} from './chart-docs.ts';
import { CLI_DOCS_PATH, renderCliDocs } from './cli-docs.ts';
import { CONFIG_DOCS_PATH, renderConfigDocs, renderValuesSchema, VALUES_SCHEMA_PATH } from './config-docs.ts';
import { ENVIRONMENT_DOCS_PATH, withSettingsTable } from './settings-docs.ts';

const pages: readonly (readonly [path: string, text: string])[] = [
  [CLI_DOCS_PATH, await renderCliDocs()],
  [ENVIRONMENT_DOCS_PATH, await withSettingsTable(readFileSync(ENVIRONMENT_DOCS_PATH, 'utf8'))],
  [ACTION_DOCS_PATH, withActionTables(readFileSync(ACTION_DOCS_PATH, 'utf8'), readFileSync('action.yml', 'utf8'))],
  [API_DOCS_PATH, await renderApiDocs()],
  [CONFIG_DOCS_PATH, renderConfigDocs()],
  [VALUES_SCHEMA_PATH, renderValuesSchema()],
  [CHART_VALUES_PATH, renderChartValues()],
  [CHART_SCHEMA_PATH, renderChartSchema()],
  [KUBERNETES_DOCS_PATH, withValuesTable(readFileSync(KUBERNETES_DOCS_PATH, 'utf8'))],
];
for (const [path, text] of pages) {
  if (!process.argv.includes('--check')) {
    writeFileSync(path, text);
    console.log(`wrote ${path}`);
  } else if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
    process.stderr.write(`${path} is stale: run node dist/scripts/generate-docs.js\n`);
    process.exitCode = 1;
  } else {
    console.log(`${path} is fresh`);
  }
}
