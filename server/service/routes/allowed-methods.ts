/** Knows the methods of each path, for answers 405 with `Allow`. */
import type { FastifyInstance } from 'fastify';

/** Notes the routes that are registered from now on. Returns what names the methods of a path; empty for a path without routes. */
export function collectMethods(app: FastifyInstance): (path: string) => readonly string[] {
  const routes: { readonly path: RegExp; readonly methods: readonly string[] }[] = [];
  app.addHook('onRoute', ({ url, method }) => {
    const path = url.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/:\w+/g, '[^/]+');
    routes.push({ path: new RegExp(`^${path}$`), methods: [method].flat() });
  });
  return (path) => [...new Set(routes.filter((route) => route.path.test(path)).flatMap(({ methods }) => methods))];
}
