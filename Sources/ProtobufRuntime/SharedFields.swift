/// The fields of a message of more than a few: copies of it share them until one of the copies is changed. A copy is one retain,
/// whatever is in it, and an absent message takes a word.
public struct SharedFields<Fields: Sendable & Hashable>: Sendable, Hashable {
  @usableFromInline var storage: Storage

  @usableFromInline
  final class Storage: @unchecked Sendable {
    // Written to only by whoever has the sole reference to it.
    @usableFromInline @exclusivity(unchecked) var fields: Fields

    @inlinable
    init(_ fields: Fields) { self.fields = fields }
  }

  @inlinable
  public init(_ fields: Fields) { storage = Storage(fields) }

  @inlinable
  public var value: Fields {
    _read { yield storage.fields }
    _modify {
      if !isKnownUniquelyReferenced(&storage) { storage = Storage(storage.fields) }
      yield &storage.fields
    }
  }

  @inlinable
  public static func == (left: Self, right: Self) -> Bool {
    left.storage === right.storage || left.storage.fields == right.storage.fields
  }

  @inlinable
  public func hash(into hasher: inout Hasher) { storage.fields.hash(into: &hasher) }
}

// A message prints and compares in tests as if its fields lay in line.
extension SharedFields: CustomStringConvertible, CustomReflectable {
  public var description: String { "\(value)" }
  public var customMirror: Mirror { Mirror(reflecting: value) }
}
