"""What a data set holds, told to who is about to use it: `hylle data`."""
