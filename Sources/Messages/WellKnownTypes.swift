// Between the wrappers and times of google/protobuf and what they are in Swift: optionals and `Timestamp`.

import CMessages
import CProtobufC
import ProtobufRuntime

extension MessageArena {
  mutating func wrapper(_ value: Double?) -> UnsafeMutablePointer<Google__Protobuf__DoubleValue>? {
    guard let value else { return nil }
    let wrapper = allocate(Google__Protobuf__DoubleValue.self)
    google__protobuf__double_value__init(wrapper)
    wrapper.pointee.value = value
    return wrapper
  }

  mutating func wrapper(_ value: Float?) -> UnsafeMutablePointer<Google__Protobuf__FloatValue>? {
    guard let value else { return nil }
    let wrapper = allocate(Google__Protobuf__FloatValue.self)
    google__protobuf__float_value__init(wrapper)
    wrapper.pointee.value = value
    return wrapper
  }

  mutating func wrapper(_ value: Int64?) -> UnsafeMutablePointer<Google__Protobuf__Int64Value>? {
    guard let value else { return nil }
    let wrapper = allocate(Google__Protobuf__Int64Value.self)
    google__protobuf__int64_value__init(wrapper)
    wrapper.pointee.value = value
    return wrapper
  }

  mutating func wrapper(_ value: UInt64?) -> UnsafeMutablePointer<Google__Protobuf__UInt64Value>? {
    guard let value else { return nil }
    let wrapper = allocate(Google__Protobuf__UInt64Value.self)
    google__protobuf__uint64_value__init(wrapper)
    wrapper.pointee.value = value
    return wrapper
  }

  mutating func wrapper(_ value: Int32?) -> UnsafeMutablePointer<Google__Protobuf__Int32Value>? {
    guard let value else { return nil }
    let wrapper = allocate(Google__Protobuf__Int32Value.self)
    google__protobuf__int32_value__init(wrapper)
    wrapper.pointee.value = value
    return wrapper
  }

  mutating func wrapper(_ value: UInt32?) -> UnsafeMutablePointer<Google__Protobuf__UInt32Value>? {
    guard let value else { return nil }
    let wrapper = allocate(Google__Protobuf__UInt32Value.self)
    google__protobuf__uint32_value__init(wrapper)
    wrapper.pointee.value = value
    return wrapper
  }

  mutating func wrapper(_ value: Bool?) -> UnsafeMutablePointer<Google__Protobuf__BoolValue>? {
    guard let value else { return nil }
    let wrapper = allocate(Google__Protobuf__BoolValue.self)
    google__protobuf__bool_value__init(wrapper)
    wrapper.pointee.value = value ? 1 : 0
    return wrapper
  }

  mutating func wrapper(_ value: String?) -> UnsafeMutablePointer<Google__Protobuf__StringValue>? {
    guard let value else { return nil }
    let wrapper = allocate(Google__Protobuf__StringValue.self)
    google__protobuf__string_value__init(wrapper)
    wrapper.pointee.value = string(value)
    return wrapper
  }

  mutating func wrapper(_ value: [UInt8]?) -> UnsafeMutablePointer<Google__Protobuf__BytesValue>? {
    guard let value else { return nil }
    let wrapper = allocate(Google__Protobuf__BytesValue.self)
    google__protobuf__bytes_value__init(wrapper)
    wrapper.pointee.value = bytes(value)
    return wrapper
  }

  mutating func timestamp(_ value: Timestamp?) -> UnsafeMutablePointer<Google__Protobuf__Timestamp>? {
    guard let value else { return nil }
    let timestamp = allocate(Google__Protobuf__Timestamp.self)
    google__protobuf__timestamp__init(timestamp)
    timestamp.pointee.seconds = value.seconds
    timestamp.pointee.nanos = value.nanoseconds
    return timestamp
  }
}

func unwrapped(_ wrapper: UnsafeMutablePointer<Google__Protobuf__DoubleValue>?) -> Double? {
  wrapper.map { $0.pointee.value }
}

func unwrapped(_ wrapper: UnsafeMutablePointer<Google__Protobuf__FloatValue>?) -> Float? {
  wrapper.map { $0.pointee.value }
}

func unwrapped(_ wrapper: UnsafeMutablePointer<Google__Protobuf__Int64Value>?) -> Int64? {
  wrapper.map { $0.pointee.value }
}

func unwrapped(_ wrapper: UnsafeMutablePointer<Google__Protobuf__UInt64Value>?) -> UInt64? {
  wrapper.map { $0.pointee.value }
}

func unwrapped(_ wrapper: UnsafeMutablePointer<Google__Protobuf__Int32Value>?) -> Int32? {
  wrapper.map { $0.pointee.value }
}

func unwrapped(_ wrapper: UnsafeMutablePointer<Google__Protobuf__UInt32Value>?) -> UInt32? {
  wrapper.map { $0.pointee.value }
}

func unwrapped(_ wrapper: UnsafeMutablePointer<Google__Protobuf__BoolValue>?) -> Bool? {
  wrapper.map { $0.pointee.value != 0 }
}

func unwrapped(_ wrapper: UnsafeMutablePointer<Google__Protobuf__StringValue>?) -> String? {
  wrapper.map { copiedString($0.pointee.value) }
}

func unwrapped(_ wrapper: UnsafeMutablePointer<Google__Protobuf__BytesValue>?) -> [UInt8]? {
  wrapper.map { copiedBytes($0.pointee.value) }
}

extension Timestamp {
  init(copying timestamp: UnsafePointer<Google__Protobuf__Timestamp>) {
    self.init(seconds: timestamp.pointee.seconds, nanoseconds: timestamp.pointee.nanos)
  }
}
