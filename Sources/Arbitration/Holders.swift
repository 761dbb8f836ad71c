import Messages

/// On which end nodes claims hold functions that may be taken away for others of higher priorities: by class, the lowest priority
/// first, so that who looks for some finds them without a look at the others.
struct Holders: Sendable, Triable {
  struct Place: Comparable, TableKey {
    typealias Kept = WholeHash

    var priority: Int32
    var endNode: String

    static func < (one: Place, other: Place) -> Bool {
      (one.priority, one.endNode) < (other.priority, other.endNode)
    }

    var scattered: UInt64 { Scattering.mix(endNode.scattered, UInt64(bitPattern: Int64(priority))) }
  }

  private var counts = Table<Place, Int>()
  private var places = Table<String, OrderedSet<Place>>()

  mutating func insert(_ assignment: Assignment, priority: Int32) {
    let place = Place(priority: priority, endNode: assignment.endNode)
    if counts.add(1, to: place) == 1 { places[assignment.deviceClass, default: OrderedSet()].insert(place) }
  }

  mutating func remove(_ assignment: Assignment, priority: Int32) {
    let place = Place(priority: priority, endNode: assignment.endNode)
    guard counts[place] != nil, counts.add(-1, to: place) == 0 else { return }
    places[assignment.deviceClass]?.remove(place)
    if places[assignment.deviceClass]?.isEmpty ?? false { places[assignment.deviceClass] = nil }
  }

  /// Those with something of a lower priority.
  func places(ofClass deviceClass: String, below priority: Int32) -> some Sequence<Place> {
    (places[deviceClass] ?? OrderedSet()).lazy.prefix { $0.priority < priority }
  }

  var isEmpty: Bool { counts.isEmpty && places.isEmpty }

  mutating func beginTrial() {
    counts.beginTrial()
    places.beginTrial()
  }

  mutating func endTrial(keeping: Bool) {
    counts.endTrial(keeping: keeping)
    places.endTrial(keeping: keeping)
  }
}
