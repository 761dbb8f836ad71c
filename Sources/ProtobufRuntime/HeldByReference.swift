/// A message field that is kept outside of the message: the messages of this vocabulary are many fields wide, and a copy
/// of one should not retain every string of what is nested in it. It behaves as a value: a write copies what is shared.
@propertyWrapper
public struct HeldByReference<Value: Message>: Sendable, Hashable {
  /// nil exactly while the field is unset.
  @usableFromInline var box: Box?

  // Sendable although it is mutable: `value` is written only while the reference to the box is unique, so that no other
  // thread can see it.
  @usableFromInline
  final class Box: @unchecked Sendable {
    @usableFromInline var value: Value?

    @inlinable
    init(_ value: Value?) { self.value = value }
  }

  @inlinable
  public init() {}

  @inlinable
  public init(wrappedValue: Value?) {
    if let wrappedValue { box = Box(wrappedValue) }
  }

  @inlinable
  public var wrappedValue: Value? {
    _read {
      if let box { yield box.value } else { yield nil }
    }
    _modify {
      let unique = uniqueBox()
      defer { if unique.value == nil { box = nil } }
      yield &unique.value
    }
    set { box = newValue.map { Box($0) } }
  }

  @inlinable
  mutating func uniqueBox() -> Box {
    if isKnownUniquelyReferenced(&box), let box { return box }
    let copy = Box(box?.value)
    box = copy
    return copy
  }

  public static func == (left: Self, right: Self) -> Bool {
    left.box === right.box || left.box?.value == right.box?.value
  }

  public func hash(into hasher: inout Hasher) { hasher.combine(box?.value) }
}

// A message prints and compares in tests as if its fields lay in line.
extension HeldByReference: CustomStringConvertible, CustomReflectable {
  public var description: String { box?.value.map { "\($0)" } ?? "nil" }
  public var customMirror: Mirror { Mirror(reflecting: wrappedValue as Any) }
}
