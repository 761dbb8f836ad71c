/// What can be taken back to how it was.
protocol Triable {
  mutating func beginTrial()
  /// - Parameter keeping: it stays as it is now.
  mutating func endTrial(keeping: Bool)
}

/// A dictionary that can be taken back to how it was. While something is tried, it remembers what its entries were before; the others
/// cost nothing, however many there are.
package struct Table<Key: Hashable & Sendable, Value: Sendable>: Sendable, Triable {
  private var entries: [Key: Value] = [:]
  /// What the entries that have changed were when the trial began; nil while nothing is tried.
  private var former: [Key: Value?]?

  package subscript(key: Key) -> Value? {
    _read { yield entries[key] }
    _modify {
      remember(key)
      yield &entries[key]
    }
  }

  subscript(key: Key, default value: @autoclosure () -> Value) -> Value {
    _read { yield entries[key, default: value()] }
    _modify {
      remember(key)
      yield &entries[key, default: value()]
    }
  }

  @discardableResult
  mutating func removeValue(forKey key: Key) -> Value? {
    remember(key)
    return entries.removeValue(forKey: key)
  }

  var count: Int { entries.count }
  package var isEmpty: Bool { entries.isEmpty }
  var keys: Dictionary<Key, Value>.Keys { entries.keys }
  var values: Dictionary<Key, Value>.Values { entries.values }

  // MARK: Trials

  mutating func beginTrial() { former = [:] }

  /// The keys of what has changed since the trial began.
  var tried: some Collection<Key> { (former ?? [:]).keys }

  /// As it was when the trial began.
  func former(_ key: Key) -> Value? { former?[key] ?? entries[key] }

  mutating func endTrial(keeping: Bool) {
    defer { former = nil }
    guard !keeping, let former else { return }
    for (key, value) in former { entries[key] = value }
  }

  private mutating func remember(_ key: Key) {
    guard former != nil, former?[key] == nil else { return }
    former?.updateValue(entries[key], forKey: key)
  }
}

extension Table: Sequence {
  package func makeIterator() -> Dictionary<Key, Value>.Iterator { entries.makeIterator() }
}

/// A set that can be taken back to how it was.
struct Register: Sendable, Triable {
  private var names = Table<String, Bool>()

  var isEmpty: Bool { names.isEmpty }
  func contains(_ name: String) -> Bool { names[name] != nil }
  mutating func insert(_ name: String) { if names[name] == nil { names[name] = true } }
  mutating func remove(_ name: String) { if names[name] != nil { names[name] = nil } }

  mutating func beginTrial() { names.beginTrial() }
  mutating func endTrial(keeping: Bool) { names.endTrial(keeping: keeping) }
}

extension Register: Sequence {
  func makeIterator() -> AnyIterator<String> {
    var keys = names.keys.makeIterator()
    return AnyIterator { keys.next() }
  }
}
