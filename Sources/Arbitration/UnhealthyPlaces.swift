import Messages

/// What claims ask for, but for what can change while they have it. Whoever asks for the same is looked for in the same places, and is
/// kept from the same ones.
struct Wish: TableKey {
  typealias Kept = WholeHash

  private let specification: ClaimSpecification

  init(_ specification: ClaimSpecification) {
    var wish = specification
    // Placement tries one host after the other, and upgrades and moves ask for less than all of it.
    (wish.host, wish.hosts, wish.hostSelector) = ("", [], "")
    wish.allowedPaths = []
    wish.consumer?.interfaceName = ""
    wish.attributes = nil
    wish.timeToLiveSeconds = 0
    wish.upgrade = false
    self.specification = wish
  }

  var scattered: UInt64 { UInt64(truncatingIfNeeded: specification.hashValue) }
}

struct UnhealthyPlaces {
  var failed = FailedPlaces()
  /// On the arbiter's monotonic clock: until then a further one is held for longer.
  var rememberedUntil: UInt64 = 0

  var due: UInt64 { failed.places.map(\.heldUntil).min() ?? rememberedUntil }
}

/// Where a function was unhealthy for longer than its claim puts up with, the claim gets no other one for a while, nor does whoever
/// asks for the same; for twice as long after each further one. A coordinator that begins anew begins anew with this, too.
extension Arbiter {
  mutating func noteUnhealthyPlace(
    of specification: ClaimSpecification, endNode: String, host: String?, _ words: String, at now: Instant
  ) {
    let wish = Wish(specification)
    var places = unhealthyPlaces[wish] ?? UnhealthyPlaces()
    places.failed.note(endNode: endNode, host: host, words, at: now, settings)
    places.rememberedUntil =
      (places.failed.places.map(\.heldUntil).max() ?? 0) + settings.flapWindowMilliseconds
      + settings.longestHoldMilliseconds
    nextUnhealthyPlace = unhealthyPlaces.isEmpty ? places.due : min(nextUnhealthyPlace, places.due)
    unhealthyPlaces[wish] = places
  }

  mutating func endUnhealthyPlaces(at now: Instant) {
    guard !unhealthyPlaces.isEmpty, nextUnhealthyPlace <= now.monotonicMilliseconds else { return }
    nextUnhealthyPlace = .max
    for wish in Array(unhealthyPlaces.keys) {
      guard let places = unhealthyPlaces[wish] else { continue }
      guard places.due > now.monotonicMilliseconds || endHolds(of: wish, at: now) else {
        unhealthyPlaces.removeValue(forKey: wish)
        continue
      }
      nextUnhealthyPlace = min(nextUnhealthyPlace, unhealthyPlaces[wish]?.due ?? .max)
    }
  }

  /// Answers whether it is remembered on.
  private mutating func endHolds(of wish: Wish, at now: Instant) -> Bool {
    let over = unhealthyPlaces.change(wish) { $0.failed.endHolds(at: now) } ?? []
    changes.openings.endNodes.formUnion(over.map(\.endNode))
    return (unhealthyPlaces[wish]?.due ?? 0) > now.monotonicMilliseconds
  }

  func placesFoundUnhealthy(for specification: ClaimSpecification) -> [FailedPlaces.Place] {
    guard !unhealthyPlaces.isEmpty, specification.unhealthySeconds != nil else { return [] }
    return unhealthyPlaces[Wish(specification)]?.failed.places ?? []
  }
}
