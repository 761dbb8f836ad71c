/// What can be taken back to how it was. Something may be tried while something else is.
protocol Triable {
  mutating func beginTrial()
  /// Ends the last one that began.
  ///
  /// - Parameter keeping: it stays as it is now, until a trial around it is taken back.
  mutating func endTrial(keeping: Bool)
}

/// What entries that have changed were when each trial began, the outermost one first.
struct Former<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  private var trials: [[Key: Value?]] = []

  mutating func begin() { trials.append([:]) }

  mutating func remember(_ key: Key, _ value: @autoclosure () -> Value?) {
    let last = trials.count - 1
    guard last >= 0, trials[last].index(forKey: key) == nil else { return }
    trials[last].updateValue(value(), forKey: key)
  }

  /// Answers what is to be as it was.
  mutating func end(keeping: Bool) -> [Key: Value?] {
    guard let last = trials.popLast() else { return [:] }
    // As they were for the trial around it, too.
    for (key, value) in last { remember(key, value) }
    return keeping ? [:] : last
  }

  /// The keys of what has changed since the last trial began.
  var keys: some Collection<Key> { (trials.last ?? [:]).keys }

  /// What an entry was then; nil if it has not changed since.
  subscript(key: Key) -> Value?? { trials.last?[key] }
}

/// A dictionary that can be taken back to how it was. While something is tried, it remembers what its entries were before; the others
/// cost nothing, however many there are.
package struct Table<Key: TableKey, Value: Sendable>: Sendable, Triable {
  private var entries = Map<Key, Value>()
  private var former = Former<Key, Value>()

  package subscript(key: Key) -> Value? {
    _read { yield entries[key] }
    _modify {
      former.remember(key, entries[key])
      yield &entries[key]
    }
  }

  subscript(key: Key, default value: @autoclosure () -> Value) -> Value {
    _read { yield entries[key, default: value()] }
    _modify {
      former.remember(key, entries[key])
      yield &entries[key, default: value()]
    }
  }

  /// Changes a value where it is; nil if there is none.
  mutating func change<Result>(_ key: Key, _ body: (inout Value) -> Result) -> Result? {
    former.remember(key, entries[key])
    return entries.change(key, body)
  }

  /// Answers the sum, which is not kept where it is nothing.
  @discardableResult
  mutating func add(_ difference: Int, to key: Key) -> Int where Value == Int {
    let sum = change(key) { count in
      count += difference
      return count
    }
    guard let sum else {
      if difference != 0 { entries.updateValue(difference, forKey: key) }
      return difference
    }
    if sum == 0 { entries.removeValue(forKey: key) }
    return sum
  }

  @discardableResult
  mutating func removeValue(forKey key: Key) -> Value? {
    former.remember(key, entries[key])
    return entries.removeValue(forKey: key)
  }

  var count: Int { entries.count }
  package var isEmpty: Bool { entries.isEmpty }
  var keys: some Collection<Key> { entries.keys }
  var values: some Collection<Value> { entries.values }

  // MARK: Trials

  mutating func beginTrial() { former.begin() }

  /// The keys of what has changed since the trial began.
  var tried: some Collection<Key> { former.keys }

  /// As it was when the trial began.
  func former(_ key: Key) -> Value? { former[key] ?? entries[key] }

  mutating func endTrial(keeping: Bool) {
    for (key, value) in former.end(keeping: keeping) { entries[key] = value }
  }
}

extension Table: Sequence {
  package func makeIterator() -> Map<Key, Value>.Iterator { entries.makeIterator() }
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
