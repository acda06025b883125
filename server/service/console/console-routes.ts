/** Serves the console: three files and an icon that the build puts beside the server's bundle, read once. */

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { FastifyPluginAsync } from 'fastify';
import type { AppContext } from '../app-context.ts';

const FILES: Readonly<Record<string, { readonly file: string; readonly type: string }>> = {
  '/': { file: 'index.html', type: 'text/html; charset=utf-8' },
  '/console/console-app.js': { file: 'console-app.js', type: 'text/javascript; charset=utf-8' },
  '/console/console-app.css': { file: 'console-app.css', type: 'text/css; charset=utf-8' },
  '/console/icon.svg': { file: 'icon.svg', type: 'image/svg+xml' },
};

/** Nothing but what the service itself serves: no other host, no inline code. uPlot sets styles by script, which needs no exception. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** Beside the bundle (`dist/main.js`), or where it is built while the sources run. */
const FOLDERS = ['./console/', '../../dist/console/'].map((folder) => fileURLToPath(new URL(folder, import.meta.url)));

/** Registers the files. They need no token: they contain no data. */
export const consoleRoutes: FastifyPluginAsync<AppContext> = async (app) => {
  const folder = FOLDERS.find(
    (candidate) => existsSync(`${candidate}index.html`) && existsSync(`${candidate}console-app.js`),
  );
  if (folder === undefined) {
    app.get('/', { schema: { hide: true } }, async (_, reply) =>
      reply.status(404).type('text/plain').send('The console is not built: npm run build makes it.\n'),
    );
    return;
  }
  for (const [path, { file, type }] of Object.entries(FILES)) {
    const bytes = await readFile(folder + file);
    app.get(path, { schema: { hide: true } }, async (_, reply) =>
      reply
        .headers({ 'Content-Security-Policy': POLICY, 'Cache-Control': 'no-cache', 'X-Frame-Options': 'DENY' })
        .type(type)
        .send(bytes),
    );
  }
};
