local down(n) = 1 + down(n + 1);
{ deep: down(0), never: error 'it is deep first' }
