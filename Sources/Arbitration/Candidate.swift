import Messages

/// Where a claim could go, before it is granted. Of a class, for it is handed on more often than it is made.
final class Candidate: WithEndNodeRecord, Sendable {
  let record: EndNode
  /// Where the function is used.
  let host: String
  let route: Route
  /// The place of the route's path in the claim's order of preference.
  let preference: Int
  let room: Room
  /// Where the claim asks for locality.
  let nearness: Nearness
  /// Whether that decides.
  let prefersNearest: Bool
  /// Functions of the claim's peers there.
  let peers: Int

  init(
    node: EndNodeState, host: String, route: Route, preference: Int, isPacked: Bool = false,
    nearness: Nearness = .unspecified, prefersNearest: Bool = false, peers: Int = 0
  ) {
    record = node.record
    self.host = host
    self.route = route
    self.preference = preference
    room = node.score.packed(isPacked)
    self.nearness = nearness
    self.prefersNearest = prefersNearest
    self.peers = peers
  }

  init(_ other: Candidate, peers: Int) {
    record = other.record
    host = other.host
    route = other.route
    preference = other.preference
    room = other.room
    nearness = other.nearness
    prefersNearest = other.prefersNearest
    self.peers = peers
  }

  var rank: Rank {
    Rank(preference: preference, distance: prefersNearest ? nearness.rawValue : 0, peers: peers, room: room)
  }

  /// The better candidate is lower.
  static func isBetter(_ one: Candidate, _ other: Candidate) -> Bool { one.rank < other.rank }

  /// What is remembered of why it was taken.
  func decision(at now: Instant?) -> PlacementDecision {
    PlacementDecision {
      $0.at = now?.timestamp
      $0.preference = UInt32(clamping: preference + 1)
      $0.functionsInUse = UInt32(clamping: room.functionsInUse)
      $0.bytesInUse = room.bytesInUse
      $0.nearness = nearness
      $0.peers = UInt32(clamping: peers)
      $0.packed = room.isPacked
    }
  }
}

/// What candidates are compared by: the preferred path; where the claim asks for the nearest, that; the fewest functions of its
/// peers; the least used end node, or the fullest; the id decides the rest.
struct Rank: Comparable {
  var preference: Int
  var distance: Int32
  var peers: Int
  var room: Room

  static func < (one: Rank, other: Rank) -> Bool {
    (one.preference, one.distance, one.peers, one.room) < (other.preference, other.distance, other.peers, other.room)
  }

  /// What nothing of some kind can be better than, but for the load.
  struct Bound {
    var preference: Int
    var distance: Int32

    init(_ preference: Int, _ distance: Int32) {
      self.preference = preference
      self.distance = distance
    }

    func rank(_ room: Room) -> Rank { Rank(preference: preference, distance: distance, peers: 0, room: room) }
  }

  /// But for the load.
  func isAsGood(as other: Rank) -> Bool {
    (preference, distance, peers) == (other.preference, other.distance, other.peers)
  }
}
