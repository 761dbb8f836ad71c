/// A value of many fields that is copied more often than it changes: a copy shares it until one of the two is changed.
@propertyWrapper
struct Boxed<Value> {
  // An array of one is a box that Swift itself copies when it is written to and shared.
  private var only: [Value]

  init(wrappedValue: Value) { only = [wrappedValue] }

  var wrappedValue: Value {
    _read { yield only[0] }
    _modify { yield &only[0] }
  }
}

extension Boxed: Sendable where Value: Sendable {}
