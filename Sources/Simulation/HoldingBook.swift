import Messages

/// The audit as a store keeps it, and what must be so of it.
struct HoldingBook {
  private(set) var holdings: [Holding] = []
  /// By function and token: the place of the one that has not ended.
  private var open: [Key: Int] = [:]
  /// What was written down that cannot be.
  private(set) var problems: [String] = []

  struct Key: Hashable {
    var function: String
    var token: UInt64

    init(_ function: String, _ token: FencingToken?) { (self.function, self.token) = (function, token?.value ?? 0) }
  }

  mutating func take(_ news: Holding) {
    let key = Key(news.function, news.token)
    guard let place = open[key] else { return begin(news, key) }
    if news.granted != nil { problems.append("\(key) is granted twice") }
    holdings[place].take(news)
    if news.ended != nil { open[key] = nil }
  }

  private mutating func begin(_ news: Holding, _ key: Key) {
    guard news.granted != nil else { return problems.append("\(key) was never granted: \(news)") }
    let others = open.keys.filter { $0.function == key.function }
    if !others.isEmpty { problems.append("\(key) is granted while \(others) is held") }
    open[key] = holdings.count
    holdings.append(news)
  }

  var openKeys: Set<Key> { Set(open.keys) }
}
