import Messages

/// Where something failed that is not to be tried there again at once.
struct FailedPlaces: Equatable {
  struct Place: Equatable {
    var endNode: String
    /// On which the function was to be used; nil: whichever it is, the host that has the end node failed.
    var host: String?
    /// As a sentence says it: "'two' of its group failed there for good: create on b: no such VLAN".
    var words: String
    /// On the arbiter's monotonic clock; until then it is not tried again.
    var heldUntil: UInt64
    /// When that is, for people.
    var until: Timestamp

    func isSame(as other: Place) -> Bool { endNode == other.endNode && host == other.host }
  }

  /// In how many places a group may fail before it waits.
  static var mostPlaces: Int { 4 }

  /// Since it last went well.
  private(set) var count = 0
  private(set) var places: [Place] = []

  /// What fails wherever it is tried is not tried everywhere.
  var isHeld: Bool { places.count >= Self.mostPlaces }

  /// The hold is twice as long each time.
  mutating func note(
    endNode: String, host: String?, _ words: String, at now: Instant, _ settings: ArbiterSettings
  ) {
    let hold = min(settings.longestHoldMilliseconds, settings.holdMilliseconds << UInt64(min(count, 4)))
    count += 1
    let place = Place(
      endNode: endNode, host: host, words: words, heldUntil: now.monotonicMilliseconds + hold,
      until: now.timestamp(afterMilliseconds: hold))
    places.removeAll { $0.isSame(as: place) }
    places.append(place)
  }

  /// Answers those where it may be tried again.
  mutating func endHolds(at now: Instant) -> [Place] {
    let over = places.filter { $0.heldUntil <= now.monotonicMilliseconds }
    if !over.isEmpty { places.removeAll { $0.heldUntil <= now.monotonicMilliseconds } }
    return over
  }
}
