select position from operations.missing_checked where consumer = $1 and topic = $2
