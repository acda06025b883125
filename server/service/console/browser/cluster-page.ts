/** The agents of the cluster: what came from the registry, what from peers, node by node. */
import { type Agent, type AgentImage, type AgentList, ask } from './console-api.ts';
import { keepLoading, type Page } from './live-page.ts';
import { breakable, element, emptyPanel, figures, tableOf } from './page-elements.ts';
import { bytesText, percentText, timeText } from './page-format.ts';
import { TrafficGraph } from './traffic-graph.ts';

/** Shows the agents. */
export const clusterPage: Page = async (main, signal) => {
  const place = element('div');
  const graph = new TrafficGraph();
  main.replaceChildren(element('h1', {}, 'Cluster'), place);
  await keepLoading(
    place,
    async () => {
      const { agents, images: served, problem: unknown } = await ask<AgentList>('api/v1/agents', signal);
      if (unknown !== undefined) {
        place.replaceChildren(emptyPanel('The agents are not known', unknown));
        return;
      }
      if (agents.length === 0) {
        place.replaceChildren(
          emptyPanel(
            'No agents are configured',
            element(
              'span',
              {},
              'Name them under ',
              element('code', {}, 'service.agents'),
              ' in the configuration: their page shows what they saved.',
            ),
          ),
        );
        return;
      }
      const sum = (name: 'fromPeers' | 'fromOrigin' | 'toClients'): number =>
        agents.reduce((total, { bytes }) => total + (bytes?.[name] ?? 0), 0);
      const [peers, origin] = [sum('fromPeers'), sum('fromOrigin')];
      graph.add(peers, origin);
      place.replaceChildren(
        figures([
          ['Agents that answer', `${agents.filter(({ reachable }) => reachable).length} of ${agents.length}`],
          ['From peers', bytesText(peers)],
          ['From registries', bytesText(origin)],
          ['Sent to runtimes', bytesText(sum('toClients'))],
          ['Share of peers', peers + origin === 0 ? '–' : percentText(peers / (peers + origin))],
        ]),
        graph.element,
        element('h2', {}, 'Nodes'),
        tableOf(
          'Agents',
          [
            { head: 'Node', kind: 'name', cell: ({ node }) => node },
            { head: 'Zone', cell: ({ zone }) => zone },
            {
              head: 'State',
              cell: stateOf,
            },
            { head: 'From peers', kind: 'number', cell: ({ bytes }) => bytes && bytesText(bytes.fromPeers) },
            { head: 'From registries', kind: 'number', cell: ({ bytes }) => bytes && bytesText(bytes.fromOrigin) },
            { head: 'To peers', kind: 'number', cell: ({ bytes }) => bytes && bytesText(bytes.toPeers) },
            { head: 'To runtimes', kind: 'number', cell: ({ bytes }) => bytes && bytesText(bytes.toClients) },
          ],
          agents,
        ),
        ...problems(agents),
        ...images(served),
      );
      graph.resize();
    },
    signal,
  );
};

function stateOf({ reachable, problem, degraded = [], peers = [] }: Agent): HTMLElement {
  if (!reachable || problem !== undefined) return element('span', { class: 'state failed' }, problem ?? 'no answer');
  const isWhole = degraded.length === 0 && peers.length === 0;
  return element('span', { class: `state ${isWhole ? 'done' : 'waiting'}` }, isWhole ? 'answers' : 'see problems');
}

/** Lists what does not work on agents that answer, and which agents they do not reach. */
function problems(agents: readonly Agent[]): readonly HTMLElement[] {
  const rows = agents.flatMap(({ node, degraded = [], peers = [] }) => [
    ...degraded.map((text) => ({ node, text, at: undefined })),
    ...peers.map((peer) => ({ node, text: `does not reach ${peer.node}: ${peer.lastError}`, at: peer.at })),
  ]);
  if (rows.length === 0) return [];
  return [
    element('h2', {}, 'Problems'),
    tableOf(
      'Problems',
      [
        { head: 'Node', kind: 'name', cell: ({ node }) => node },
        { head: 'Problem', cell: ({ text }) => element('span', {}, ...breakable(text)) },
        { head: 'Last asked', cell: ({ at }) => at && timeText(at) },
      ],
      rows.slice(0, 100),
    ),
  ];
}

function images(served: readonly AgentImage[]): readonly HTMLElement[] {
  if (served.length === 0) return [];
  const rows = served.slice(0, 100);
  return [
    element('h2', {}, 'Images'),
    tableOf(
      'Images',
      [
        { head: 'Image', kind: 'name', cell: ({ image }) => element('span', {}, ...breakable(image)) },
        { head: 'Nodes', kind: 'number', cell: ({ nodes }) => nodes },
        { head: 'From peers', kind: 'number', cell: ({ fromPeers }) => bytesText(fromPeers) },
        { head: 'From registries', kind: 'number', cell: ({ fromOrigin }) => bytesText(fromOrigin) },
      ],
      rows,
    ),
  ];
}
