/// The claims of one class that wait for a function.
struct WaitingList {
  struct Entry: Comparable, Sendable {
    var priority: Int32
    var tenant: String
    var seconds: Int64
    var nanoseconds: Int32
    /// Decides between claims of one instant.
    var uid: String
    var name: String

    /// Higher priorities first; of one priority those of one tenant stand together, the oldest first.
    static func < (one: Entry, other: Entry) -> Bool {
      guard one.priority == other.priority else { return one.priority > other.priority }
      guard one.tenant == other.tenant else { return one.tenant < other.tenant }
      return isOlder(one, other)
    }

    static func isOlder(_ one: Entry, _ other: Entry) -> Bool {
      (one.seconds, one.nanoseconds, one.uid) < (other.seconds, other.nanoseconds, other.uid)
    }

    func isOfSameQueue(as other: Entry) -> Bool { priority == other.priority && tenant == other.tenant }

    /// Behind all of its priority and tenant.
    var last: Entry { Entry(priority: priority, tenant: tenant, seconds: .max, nanoseconds: .max, uid: "", name: "") }
  }

  /// A round of looking again, in which everybody has a turn. Whoever has not had it yet says why it waits as it was before something
  /// changed. A change meanwhile lets the round end first.
  struct Round {
    var serving: Serving?
    var isWantedAgain = false
  }

  private(set) var entries = OrderedSet<Entry>()
  var round = Round()

  mutating func insert(_ entry: Entry) { entries.insert(entry) }
  mutating func remove(_ entry: Entry) { entries.remove(entry) }

  mutating func becomeStale() {
    if round.serving != nil { round.isWantedAgain = true } else if !entries.isEmpty { round.serving = Serving() }
  }
}

/// Goes through a list in the order in which its claims are to be served: of a priority, the tenant that has the least of its share is
/// next, with the oldest of its claims. What a tenant has changes on the way, and the list may. A step costs the same however many
/// claims wait, and little for each tenant, unless shares have changed.
struct Serving {
  private struct Head {
    var entry: WaitingList.Entry
    var share: FairShare

    func isBefore(_ other: Head) -> Bool {
      guard share == other.share else { return share < other.share }
      return WaitingList.Entry.isOlder(entry, other.entry)
    }
  }

  /// The next one of each tenant, all of one priority; the last of them is the next.
  private var heads: [Head] = []
  private var revision: UInt64?
  private var last: WaitingList.Entry?
  private var isFirstServed = false

  /// - Parameters:
  ///   - first: comes before all of its priority.
  ///   - isOver: whether a tenant's turn is over.
  ///   - revision: As long as it is the same, so are the shares.
  mutating func next(
    of list: WaitingList, first: WaitingList.Entry? = nil, skipping isOver: (String) -> Bool = { _ in false },
    revision: UInt64,
    share: (String) -> FairShare
  ) -> WaitingList.Entry? {
    while true {
      if heads.isEmpty, !begin(of: list) { return nil }
      if let first, !isFirstServed, let head = heads.first, head.entry.priority <= first.priority {
        isFirstServed = true
        if list.entries.contains(first) { return first }
      }
      if self.revision != revision {
        for place in heads.indices { heads[place].share = share(heads[place].entry.tenant) }
        heads.sort { $1.isBefore($0) }
        self.revision = revision
      }
      let head = heads.removeLast()
      guard !isOver(head.entry.tenant) else { continue }
      let following = list.entries.first(after: head.entry)
      if let following, following.isOfSameQueue(as: head.entry) {
        insert(Head(entry: following, share: head.share))
      }
      if list.entries.contains(head.entry) { return head.entry }
    }
  }

  private mutating func insert(_ head: Head) {
    var (low, high) = (0, heads.count)
    while low < high {
      let middle = (low + high) / 2
      if head.isBefore(heads[middle]) { low = middle + 1 } else { high = middle }
    }
    heads.insert(head, at: low)
  }

  /// The first ones of the next priority; false if there is none.
  private mutating func begin(of list: WaitingList) -> Bool {
    guard let first = list.entries.first(after: last) else { return false }
    var next: WaitingList.Entry? = first
    while let entry = next, entry.priority == first.priority {
      heads.append(Head(entry: entry, share: FairShare(of: Amount(), in: Amount(), weight: 1)))
      last = entry.last
      next = list.entries.first(after: entry.last)
    }
    revision = nil
    return true
  }
}
