/// A message field that is kept outside of the message: the messages of this vocabulary are many fields wide, and a copy
/// of one should not retain every string of what is nested in it. It behaves as a value: the box is never written, a
/// change makes a new one.
@propertyWrapper
public struct HeldByReference<Value: Message>: Sendable, Hashable {
  @usableFromInline var box: Box?

  // Not an optional value: to destroy one, generic code would have to look up its type each time.
  @usableFromInline
  final class Box: Sendable {
    @usableFromInline let value: Value

    @inlinable
    init(_ value: Value) { self.value = value }
  }

  @inlinable
  public init() {}

  @inlinable
  public init(wrappedValue: Value?) {
    if let wrappedValue { box = Box(wrappedValue) }
  }

  @inlinable
  public var wrappedValue: Value? {
    get { box?.value }
    _modify {
      var value = box?.value
      // If nobody shares the box, the value's strings and arrays are now unshared and change in place.
      box = nil
      defer { if let value { box = Box(value) } }
      yield &value
    }
    set {
      if let newValue { box = Box(newValue) } else { box = nil }
    }
  }

  public static func == (left: Self, right: Self) -> Bool {
    left.box === right.box || left.box?.value == right.box?.value
  }

  public func hash(into hasher: inout Hasher) { hasher.combine(box?.value) }
}

// A message prints and compares in tests as if its fields lay in line.
extension HeldByReference: CustomStringConvertible, CustomReflectable {
  public var description: String { box.map { "\($0.value)" } ?? "nil" }
  public var customMirror: Mirror { Mirror(reflecting: wrappedValue as Any) }
}
