import ArgumentParser
import Services

/// Where a function is to be: how near to its consumer, and with which others.
struct PlacementOptions: ParsableArguments {
  @Option(
    help: """
      How near the function has to be: rack, served by a host with the same label "rack" or of the host itself; host, of the host \
      itself; numa, of the host itself and plugged in at --numa-node. Default: anywhere.
      """)
  var locality: LocalityWord?
  @Flag(
    help: "Of the ways by one path the nearest ones come first: at --numa-node, of the host, in its rack, elsewhere.")
  var nearest = false
  @Option(help: ArgumentHelp("The host's NUMA node where what uses the function runs.", valueName: "number"))
  var numaNode: UInt32?
  @Option(
    help: """
      Which end node comes first of those that are as good otherwise: spread, the least used; pack, the fullest that it fits \
      into. Default: spread.
      """)
  var placement: PlacementWord?
  @Option(
    help: ArgumentHelp(
      "Spread over peers, claims with the same word here: the fewest of their functions come first, before the load.",
      valueName: "word"))
  var peers: String?
  @Flag(
    help: """
      Move to a path that comes earlier in the order of --path when one is free; never more often than once in five minutes, and \
      after whoever waits. The function goes and another one comes. Not of disks.
      """)
  var upgrade = false

  func validate() throws {
    guard peers == nil || placement != .pack else {
      throw ValidationError(
        "--peers is what a claim is spread over, and --placement pack fills: leave one of both out.")
    }
    guard locality != .numa || numaNode != nil else {
      throw ValidationError("Which NUMA node is meant by --locality numa? Name it: --numa-node.")
    }
  }

  var asked: (locality: Locality?, placement: Placement?) {
    let near = Locality {
      $0.within = locality?.nearness ?? .unspecified
      $0.nearest = nearest
      $0.numaNode = numaNode
    }
    let spread = Placement {
      $0.rule = placement?.rule ?? .unspecified
      $0.peers = peers ?? ""
    }
    return (near == Locality() ? nil : near, spread == Placement() ? nil : spread)
  }
}

enum LocalityWord: String, ExpressibleByArgument, CaseIterable {
  case numa, host, rack

  var nearness: Nearness {
    switch self {
    case .numa: .numaNode
    case .host: .host
    case .rack: .rack
    }
  }
}

enum PlacementWord: String, ExpressibleByArgument, CaseIterable {
  case spread, pack

  var rule: PlacementRule { self == .pack ? .pack : .spread }
}

extension Nearness {
  var word: String {
    switch self {
    case .numaNode: "numa"
    case .host: "host"
    case .rack: "rack"
    case .elsewhere: "elsewhere"
    case .unspecified, .unrecognized: "-"
    }
  }
}

extension Locality {
  /// "within the rack, the nearest first, from NUMA node 1".
  var words: String {
    let limit: String? =
      switch within {
      case .numaNode: "at the NUMA node"
      case .host: "of the host itself"
      case .rack: "within the rack"
      default: nil
      }
    return [limit, nearest ? "the nearest first" : nil, numaNode.map { "seen from NUMA node \($0)" }]
      .compactMap { $0 }.joined(separator: ", ")
  }
}

extension Placement {
  var words: String { rule == .pack ? "the fullest first" : peers.isEmpty ? "" : "spread over the peers \(peers)" }
}

extension Upgrade {
  var words: String {
    let way = better.map { ", on its way to \($0.endNode) by the path \($0.path.word)" } ?? ""
    return "\(count), the last one at \(at.map { "\($0)" } ?? "?")\(way)"
  }
}
