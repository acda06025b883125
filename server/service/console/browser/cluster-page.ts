/** The agents of the cluster: what came from the registry, what from peers, node by node. */
import { type Agent, ask } from './console-api.ts';
import { keepLoading, type Page } from './live-page.ts';
import { element, emptyPanel, figures, tableOf } from './page-elements.ts';
import { bytesText, percentText } from './page-format.ts';
import { TrafficGraph } from './traffic-graph.ts';

interface AgentList {
  readonly agents: readonly Agent[];
}

/** Shows the agents. */
export const clusterPage: Page = async (main, signal) => {
  const place = element('div');
  const graph = new TrafficGraph();
  main.replaceChildren(element('h1', {}, 'Cluster'), place);
  await keepLoading(
    place,
    async () => {
      const { agents } = await ask<AgentList>('api/v1/agents', signal);
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
            { head: 'Node', cell: ({ node }) => node },
            { head: 'Zone', cell: ({ zone }) => zone },
            {
              head: 'State',
              cell: ({ reachable, problem }) =>
                element(
                  'span',
                  { class: `state ${reachable ? 'done' : 'failed'}` },
                  reachable ? 'answers' : (problem ?? 'no answer'),
                ),
            },
            { head: 'From peers', number: true, cell: ({ bytes }) => bytes && bytesText(bytes.fromPeers) },
            { head: 'From registries', number: true, cell: ({ bytes }) => bytes && bytesText(bytes.fromOrigin) },
            { head: 'To peers', number: true, cell: ({ bytes }) => bytes && bytesText(bytes.toPeers) },
            { head: 'To runtimes', number: true, cell: ({ bytes }) => bytes && bytesText(bytes.toClients) },
          ],
          agents,
        ),
        ...images(agents),
      );
      graph.resize();
    },
    signal,
  );
};

function images(agents: readonly Agent[]): readonly HTMLElement[] {
  const byImage = new Map<string, { image: string; nodes: number; fromPeers: number; fromOrigin: number }>();
  for (const { images: served = [] } of agents) {
    for (const { image, fromPeers, fromOrigin } of served) {
      const row = byImage.get(image) ?? { image, nodes: 0, fromPeers: 0, fromOrigin: 0 };
      byImage.set(image, {
        image,
        nodes: row.nodes + 1,
        fromPeers: row.fromPeers + fromPeers,
        fromOrigin: row.fromOrigin + fromOrigin,
      });
    }
  }
  if (byImage.size === 0) return [];
  const rows = [...byImage.values()]
    .sort((a, b) => b.fromPeers + b.fromOrigin - a.fromPeers - a.fromOrigin)
    .slice(0, 100);
  return [
    element('h2', {}, 'Images'),
    tableOf(
      'Images',
      [
        { head: 'Image', cell: ({ image }) => image },
        { head: 'Nodes', number: true, cell: ({ nodes }) => nodes },
        { head: 'From peers', number: true, cell: ({ fromPeers }) => bytesText(fromPeers) },
        { head: 'From registries', number: true, cell: ({ fromOrigin }) => bytesText(fromOrigin) },
      ],
      rows,
    ),
  ];
}
