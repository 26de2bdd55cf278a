"""The built-in encoder that puts a recurrent network on another encoder."""
