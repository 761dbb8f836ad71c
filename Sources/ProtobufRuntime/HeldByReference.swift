/// A message field that is kept outside of the message: the messages of this vocabulary are many fields wide, and a copy
/// of one should not retain every string of what is nested in it. It behaves as a value: a write copies what is shared.
@propertyWrapper
public struct HeldByReference<Value: Message>: Sendable, Hashable {
  @usableFromInline var box: Box?

  /// Immutable once it is shared: `value` is only written through a unique reference, which is why it may be Sendable.
  @usableFromInline
  final class Box: @unchecked Sendable {
    @usableFromInline var value: Value

    @inlinable
    init(_ value: Value) { self.value = value }
  }

  @inlinable
  public init() {}

  @inlinable
  public init(wrappedValue: Value?) { box = wrappedValue.map(Box.init) }

  @inlinable
  public var wrappedValue: Value? {
    get { box?.value }
    _modify {
      var value = takeValue()
      defer { box = value.map(Box.init) }
      yield &value
    }
    set { box = newValue.map(Box.init) }
  }

  /// Takes the value out, so that a change in place finds its strings and arrays unshared.
  @inlinable
  mutating func takeValue() -> Value? {
    guard let taken = box else { return nil }
    box = nil
    return taken.value
  }

  public static func == (left: Self, right: Self) -> Bool {
    left.box === right.box || left.box?.value == right.box?.value
  }

  public func hash(into hasher: inout Hasher) { hasher.combine(box?.value) }
}
