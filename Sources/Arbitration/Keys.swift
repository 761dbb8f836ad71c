/// What tables find their entries by.
///
/// A grant looks for two dozen names, and the standard hash of one is most of what that takes: about 300 instructions, and this one about 80. It
/// is seeded by the standard one's secret, so that nobody can choose names that all fall on one place. Nothing depends on the order of entries.
package protocol TableKey: Hashable, Sendable {
  /// What a table keeps beside it.
  associatedtype Kept: KeptHash

  /// The same number for what is equal, which differs from run to run.
  var scattered: UInt64 { get }
}

/// Where it is kept, two keys that are not the same one are told apart without a look at their texts, which are seldom in the
/// processor's caches, and a table that grows looks at none.
package protocol KeptHash: Equatable, Sendable {
  init(of key: some TableKey)
  func hash(of key: some TableKey) -> UInt64
}

/// Of texts.
package struct WholeHash: KeptHash {
  private let hash: UInt64

  package init(of key: some TableKey) { hash = key.scattered }
  package func hash(of key: some TableKey) -> UInt64 { hash }
}

/// Of numbers, which are compared as fast.
package struct NoHash: KeptHash {
  package init(of key: some TableKey) {}
  package func hash(of key: some TableKey) -> UInt64 { key.scattered }
}

/// A key with the hash that is its own, not the standard one.
struct Keyed<Key: TableKey>: Hashable, Sendable {
  let key: Key
  private let kept: Key.Kept

  init(_ key: Key) {
    self.key = key
    kept = Key.Kept(of: key)
  }

  static func == (one: Self, other: Self) -> Bool { one.kept == other.kept && one.key == other.key }
  func hash(into hasher: inout Hasher) { hasher.combine(kept.hash(of: key)) }

  /// What sets and dictionaries ask; by itself it would ask for `hash(into:)`, and hash the hash. The seed is that of the one dictionary.
  func _rawHashValue(seed: Int) -> Int {
    Int(truncatingIfNeeded: Scattering.mix(kept.hash(of: key), UInt64(truncatingIfNeeded: seed)))
  }
}

enum Scattering {
  /// What the standard library seeds all hashes of this process with is in it.
  static let secret = UInt64(truncatingIfNeeded: Hasher().finalize())

  /// Every bit of both is in every bit of it: the two halves of a product, as in wyhash.
  static func mix(_ one: UInt64, _ other: UInt64) -> UInt64 {
    let product = (one ^ 0x9E37_79B9_7F4A_7C15).multipliedFullWidth(by: other ^ 0xD1B5_4A32_D192_ED03)
    return product.high ^ product.low
  }

  /// - Returns: nil if not all of it is ASCII.
  fileprivate static func scattered(_ bytes: UnsafeRawBufferPointer) -> UInt64? {
    var hash = secret ^ UInt64(bytes.count)
    var all: UInt64 = 0
    var place = 0
    while place + 8 <= bytes.count {
      let word = bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self)
      all |= word
      hash = mix(hash, word)
      place += 8
    }
    if place < bytes.count {
      var word: UInt64 = 0
      if bytes.count >= 8 {
        // Some of it a second time.
        word = bytes.loadUnaligned(fromByteOffset: bytes.count - 8, as: UInt64.self)
      } else {
        for byte in bytes { word = word << 8 | UInt64(byte) }
      }
      all |= word
      hash = mix(hash, word)
    }
    return all & 0x8080_8080_8080_8080 == 0 ? hash : nil
  }
}

extension String: TableKey {
  package typealias Kept = WholeHash

  package var scattered: UInt64 {
    if let hash = utf8.withContiguousStorageIfAvailable({ Scattering.scattered(UnsafeRawBufferPointer($0)) }) ?? nil {
      return hash
    }
    // Equal texts may be of different bytes, and a few that are not of ASCII are equal to one that is.
    let plain = String(String.UnicodeScalarView(unicodeScalars.map { Self.equalsOfASCII[$0] ?? $0 }))
    guard plain.utf8.allSatisfy({ $0 < 0x80 }) else { return UInt64(truncatingIfNeeded: hashValue) }
    return Array(plain.utf8).withUnsafeBytes(Scattering.scattered) ?? 0
  }

  /// The Greek question mark, the varia and the sign of kelvin: all that Unicode holds equal to a character of ASCII.
  private static let equalsOfASCII: [Unicode.Scalar: Unicode.Scalar] = [
    "\u{37E}": ";", "\u{1FEF}": "`", "\u{212A}": "K",
  ]
}

extension UInt32: TableKey {
  package typealias Kept = NoHash

  package var scattered: UInt64 { Scattering.secret ^ UInt64(self) }
}

/// A dictionary with the hash of `TableKey`.
package struct Map<Key: TableKey, Value> {
  private var entries: [Keyed<Key>: Value] = [:]

  init() {}

  subscript(key: Key) -> Value? {
    // Many are empty: most claims ask for nothing of what those are about.
    get { entries.isEmpty ? nil : entries[Keyed(key)] }
    _modify { yield &entries[Keyed(key)] }
  }

  subscript(key: Key, default value: @autoclosure () -> Value) -> Value {
    get { entries[Keyed(key), default: value()] }
    _modify { yield &entries[Keyed(key), default: value()] }
  }

  /// Changes a value where it is; nil if there is none.
  mutating func change<Result>(_ key: Key, _ body: (inout Value) -> Result) -> Result? {
    guard let index = entries.index(forKey: Keyed(key)) else { return nil }
    return body(&entries.values[index])
  }

  @discardableResult
  mutating func updateValue(_ value: Value, forKey key: Key) -> Value? {
    entries.updateValue(value, forKey: Keyed(key))
  }

  @discardableResult
  mutating func removeValue(forKey key: Key) -> Value? { entries.removeValue(forKey: Keyed(key)) }

  func contains(_ key: Key) -> Bool { entries.index(forKey: Keyed(key)) != nil }

  var count: Int { entries.count }
  var isEmpty: Bool { entries.isEmpty }
  var keys: some Collection<Key> { entries.keys.lazy.map { $0.key } }
  var values: some Collection<Value> { entries.values }
}

extension Map: Sendable where Value: Sendable {}

/// A set of names with the hash of `TableKey`.
struct NameSet: Sendable {
  private var names: Set<Keyed<String>> = []

  mutating func insert(_ name: String) { names.insert(Keyed(name)) }
  mutating func remove(_ name: String) { names.remove(Keyed(name)) }
  var count: Int { names.count }
}

extension NameSet: Sequence {
  struct Iterator: IteratorProtocol {
    fileprivate var names: Set<Keyed<String>>.Iterator

    mutating func next() -> String? { names.next()?.key }
  }

  func makeIterator() -> Iterator { Iterator(names: names.makeIterator()) }
}

extension Map: Sequence {
  package struct Iterator: IteratorProtocol {
    fileprivate var entries: Dictionary<Keyed<Key>, Value>.Iterator

    package mutating func next() -> (key: Key, value: Value)? { entries.next().map { ($0.key.key, $0.value) } }
  }

  package func makeIterator() -> Iterator { Iterator(entries: entries.makeIterator()) }
}
