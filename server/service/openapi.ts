/**
 * The OpenAPI 3.1 document of the API. It is made from the routes themselves, in an application that never listens, and only when
 * someone asks for it: what makes it is not in the memory of a service that nobody asks.
 */
import { STATUS_CODES } from 'node:http';
import swagger from '@fastify/swagger';
import fastify from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { VERSION } from '../../base/version.ts';
import type { AppContext } from './app-context.ts';
import { HOOKS } from './hooks/receivers.ts';
import { registerApi } from './routes/api-routes.ts';

/** One answer of an operation. */
interface Answer {
  description: string;
  content?: Record<string, { readonly schema: { readonly $ref?: string } }>;
  headers?: object;
}

/** One method of a path. */
interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly description?: string;
  }[];
  readonly security?: readonly object[];
  readonly responses: Record<string, Answer>;
}

/** The parts of the document that this project reads. */
export interface ApiDocument {
  readonly info: { readonly title: string; readonly version: string; readonly description?: string };
  readonly paths: Record<string, Record<string, Operation>>;
}

/** Meanings of statuses, where HTTP's own words say too little. */
const MEANINGS: Readonly<Record<string, string>> = {
  '200': 'Done',
  '202': 'Accepted: on disk',
  '400': 'The request is not of the form that is described here, or names an image that no rule covers',
  '401': 'No token, or one that is not known',
  '403': 'The token does not allow it, or without tokens a page of another host asks',
  '404': 'There is no such thing, or not any more',
  '409': 'The state of the conversion does not allow it',
  '413': 'The body has more than 1 MiB',
  '500': 'The conversion that was waited for has failed, or an error of the service',
  '502': 'The registry does not answer as it should',
  '503': 'The queue, or what it needs, is not available now; also where too many wait',
  '504': 'The registry took too long',
  '507': 'The disk of the queue is full: nothing was accepted',
};

/** Makes the document. */
export async function describeApi(): Promise<ApiDocument> {
  const app = fastify();
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'accel conversion service',
        version: VERSION,
        description: 'Converts the images that are pushed. Errors are one document, `{error: {code, message, …}}`.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      components: {
        securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'A token of service.tokens' } },
      },
    },
    transform: jsonSchemaTransform,
    transformObject: jsonSchemaTransformObject,
  });
  // No handler runs: what they need is never asked for.
  await registerApi(app, { queue: undefined } as unknown as AppContext);
  await app.ready();
  const document = app.swagger() as unknown as ApiDocument;
  await app.close();
  for (const operations of Object.values(document.paths)) {
    for (const operation of Object.values(operations)) explain(operation);
  }
  document.paths['/hooks/{kind}'] = { post: hookOperation(document.paths['/api/v1/conversions']!.post!) };
  return document;
}

function explain({ responses }: Operation): void {
  for (const [status, answer] of Object.entries(responses)) {
    answer.description = MEANINGS[status] ?? STATUS_CODES[status] ?? '';
    // Errors are JSON, whatever success is.
    const [content] = Object.values(answer.content ?? {});
    if (content?.schema.$ref === '#/components/schemas/Error') answer.content = { 'application/json': content };
    if (status === '401') answer.headers = { 'WWW-Authenticate': { schema: { type: 'string' } } };
  }
}

/** All receivers are one path of the document: each maker documents what it sends. */
function hookOperation({ responses }: Operation): Operation {
  const answer = (description: string): Answer => ({ description, content: { 'application/json': { schema: {} } } });
  const parameters = [
    { name: 'kind', in: 'path', required: true, schema: { type: 'string', enum: Object.keys(HOOKS) } },
  ];
  const body = { required: true, content: { 'application/json': { schema: { type: ['object', 'array'] } } } };
  const errors = ['400', '401', '403', '413', '503', '507'].map((status) => [status, responses[status]!] as const);
  const operation = {
    summary: 'Notifications of a kind of registry',
    description:
      'In the form that the maker of the registry documents, with the secret of service.hooks.KIND. Success means that the pushes are on disk.',
    tags: ['hooks'],
    parameters,
    requestBody: body,
    responses: {
      '200': answer('Nothing in it is to be converted'),
      '202': answer('Accepted: on disk'),
      '404': { ...responses['400']!, description: 'This kind is not configured' },
      ...Object.fromEntries(errors),
    },
  };
  return operation;
}
