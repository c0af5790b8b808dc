#include "framework/linalg/sparse_matching.hpp"

#include <lemon/matching.h>
#include <lemon/smart_graph.h>

namespace kronlab::linalg {

SparseMatching best_sparse_matching(int num_nodes, const std::vector<WeightedEdge>& edges) {
  using Graph = lemon::SmartGraph;
  using Weights = Graph::EdgeMap<std::int64_t>;
  using Matcher = lemon::MaxWeightedPerfectMatching<Graph, Weights>;
  static_assert(Matcher::dualScale == SparseMatching::price_scale, "LEMON scales its duals otherwise");
  Graph graph;
  graph.reserveNode(num_nodes);
  graph.reserveEdge(static_cast<int>(edges.size()));
  for (int i = 0; i < num_nodes; ++i) graph.addNode();
  Weights weights(graph);
  for (const auto& edge : edges) weights[graph.addEdge(graph.nodeFromId(edge.first), graph.nodeFromId(edge.second))] = edge.weight;
  Matcher matcher(graph, weights);
  SparseMatching result;
  if (!matcher.run()) return result;
  for (int i = 0; i < num_nodes; ++i) {
    const auto node = graph.nodeFromId(i);
    result.partner.push_back(graph.id(matcher.mate(node)));
    result.prices.push_back(matcher.nodeValue(node));
  }
  for (int k = 0; k < matcher.blossomNum(); ++k) {
    SparseMatching::Blossom blossom;
    blossom.price = matcher.blossomValue(k);
    for (Matcher::BlossomIt node(matcher, k); node != lemon::INVALID; ++node) blossom.nodes.push_back(graph.id(node));
    result.blossoms.push_back(std::move(blossom));
  }
  return result;
}

}  // namespace kronlab::linalg
