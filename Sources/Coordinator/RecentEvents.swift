import Messages

/// The last changes of claims in this run, so that a watcher that was cut off can go on where it was.
struct RecentEvents {
  let capacity: Int
  /// Every change above this revision is here.
  private(set) var floor: UInt64
  /// A ring once it is full: `start` is the oldest then.
  private var events: [ClaimEvent] = []
  private var start = 0

  /// - Parameter revision: of the state that the run began with; what led to it is not known any more.
  init(after revision: UInt64, capacity: Int) {
    floor = revision
    self.capacity = capacity
  }

  /// Events come in the order of their revisions.
  mutating func append(_ event: ClaimEvent) {
    guard events.count == capacity else { return events.append(event) }
    floor = events[start].revision
    events[start] = event
    start = (start + 1) % capacity
  }

  /// What came after `revision`, oldest first; nil if it is not all here any more.
  func events(after revision: UInt64) -> [ClaimEvent]? {
    guard revision >= floor else { return nil }
    // Those who come back have missed little, so the search begins at the newest.
    var count = 0
    while count < events.count, event(events.count - 1 - count).revision > revision { count += 1 }
    return (events.count - count..<events.count).map(event)
  }

  /// By age, the oldest being 0.
  private func event(_ index: Int) -> ClaimEvent { events[(start + index) % events.count] }
}
